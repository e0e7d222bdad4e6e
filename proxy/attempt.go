package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// An attempt is one sending of a call. It goes on when its caller leaves, since the
// portal runs a call that has arrived. The timeout bounds it.
type attempt struct {
	done   chan struct{} // closed when the fields below are set
	resp   *http.Response
	answer bitrix24.Answer
	err    *failure
	read   *readAnswer // of a write that was accepted

	slot     *limiter.Slot
	expires  *limiter.Slot // the same, if the call may still get another for it
	began    time.Time
	status   int // of the answer; 0: there is none
	feedback feedback
	journal  journal
	isEnded  sync.Once
	trips
}

// A sender sends attempts to portals.
type sender struct {
	base     http.RoundTripper
	forget   func()        // closes the base's idle connections
	timeout  time.Duration // the longest silence of a portal
	outbound bool          // requests are sent through the outbound proxy
	learner  learner
	journal  journal
}

// begin begins to send a call.
func (s *sender) begin(ex *exchange, req *http.Request, admitted admission) *attempt {
	ex.attempts++
	at := &attempt{done: make(chan struct{}), slot: admitted.slot, began: time.Now(), journal: s.journal, trips: trips{of: ex}}
	if !ex.slotExpired {
		at.expires = at.slot
	}
	ex.body.users.Add(1)
	at.feedback = feedback{
		call: ex.call(req.Method), route: ex.route, key: admitted.key, pass: admitted.pass, cred: ex.cred,
		contentType: req.Header.Get("Content-Type"), body: ex.body.head, joined: ex.joined, began: at.began,
	}
	record(s.journal, operator.AttemptBegan{Call: at.feedback.call})
	go s.run(at, req, ex.body, ex.write)
	return at
}

// run sends the call of an attempt, and learns from the answer.
func (s *sender) run(at *attempt, req *http.Request, body *body, w *write) {
	growStack()
	defer close(at.done)
	s.exchange(at, req, body)
	body.release()
	recordReached(s.journal, at.feedback.call, at.err)
	at.report()
	s.readAhead(at, w)
}

// growStack makes the stack of a new goroutine as large as net/http needs it, while there
// is hardly anything on it to move. Later that takes a twentieth of the time of a call.
//
//go:noinline
func growStack() (last byte) {
	var room [4 << 10]byte
	for i := 0; i < len(room); i += 1 << 10 {
		last += room[i]
	}
	return last
}

// wait waits until the attempt has its answer. When the caller leaves before, the
// call may run, so what its answer shows is learned all the same.
func (at *attempt) wait(ctx context.Context, ex *exchange) error {
	defer func() { ex.portalTime += time.Since(at.began) }()
	select {
	case <-at.done:
		return nil
	case <-ctx.Done():
		ex.write.left()
		go at.abandon(ex.write)
		return context.Cause(ctx)
	}
}

// abandon waits for the end of an attempt whose caller has left, and remembers what
// became of a write.
func (at *attempt) abandon(w *write) {
	<-at.done
	w.settle(at)
	at.discard()
}

// exchange sends the request and examines the answer.
func (s *sender) exchange(at *attempt, req *http.Request, body *body) {
	fb := &at.feedback
	defer func() {
		if cause := recover(); cause != nil {
			at.err = panicked(s.journal, fb.call, cause)
		}
		if at.err != nil {
			fb.lost()
		}
	}()
	at.resp, at.err = s.send(at, req, body)
	if at.err == nil && at.resp.StatusCode < 200 { // net/http reads 000 to 099, but does not write them
		at.resp.Body.Close()
		at.err = networkFailure(at.resp.Request.Context(), fmt.Errorf("the portal answered with status %03d", at.resp.StatusCode), true)
	}
	if at.err == nil {
		at.status, fb.took = at.resp.StatusCode, time.Since(fb.began)
		at.answer = examine(at.resp, fb.route.call,
			func(a bitrix24.Answer) { s.learner.learn(fb, at.resp.Header, a) },
			func(cause any) { panicked(s.journal, fb.call, cause) })
	}
}

// report reports to the limiter what came of a slot.
func (at *attempt) report() {
	if at.err != nil || at.answer.Kind.IsError() { // nothing of it is in flight, and the call may have to wait again
		defer at.ended()
	}
	slot := at.slot
	switch {
	case slot == nil:
	case at.err != nil && at.err.executed == bitrix24.RanNo:
		slot.Unsent()
	case at.err != nil || at.answer.Kind == bitrix24.KindNoAnswer:
		slot.Answered(limiter.NoAnswer)
	case at.answer.IsRefusal():
		slot.Answered(limiter.Refused)
	case at.answer.Known != nil && at.answer.Known.Code == bitrix24.CodeOverloadLimit:
		slot.Answered(limiter.Overloaded)
	default:
		slot.Answered(limiter.Accepted)
	}
}

// deliver gives the answer to a caller who is still there. From now on it ends when
// the caller leaves.
func (at *attempt) deliver(ctx context.Context) (*http.Response, error) {
	if at.err != nil {
		at.end()
		return nil, at.err
	}
	w := exchangeOf(ctx).write
	w.settle(at)
	w.deliver(ctx)
	stop := func() bool { return true }
	if isRead := at.read != nil && at.read.whole; !isRead && !isHeld(at.resp) {
		stop = context.AfterFunc(ctx, func() { at.cancel(context.Cause(ctx)) })
	}
	at.resp.Body = &deliveredBody{ReadCloser: at.resp.Body, caller: ctx, exchange: exchangeOf(ctx), closed: func() { stop(); at.end() }}
	return at.resp, nil
}

// end ends an attempt of which nothing is in flight any more.
func (at *attempt) end() {
	at.cancel(nil)
	at.ended()
}

// ended records, once, that nothing of an attempt is in flight any more.
func (at *attempt) ended() {
	at.isEnded.Do(func() {
		record(at.journal, operator.AttemptEnded{Call: at.feedback.call, Status: at.status, Took: time.Since(at.began)})
		if at.slot != nil {
			at.slot.Done()
		}
	})
}

// How much is read of an answer that nobody waits for, so that its connection can be
// used again.
const (
	maxDiscard  = 256 << 10
	discardTime = 5 * time.Second
)

// discard waits for the end of an attempt and drops its answer.
func (at *attempt) discard() {
	<-at.done
	if at.resp != nil {
		enough := time.AfterFunc(discardTime, func() { at.cancel(nil) })
		io.CopyN(io.Discard, at.resp.Body, maxDiscard)
		enough.Stop()
		at.resp.Body.Close()
	}
	at.end()
}

// send sends a request once. It takes another connection as long as the portal closes
// each before it has read anything of the request.
func (s *sender) send(at *attempt, req *http.Request, body *body) (*http.Response, *failure) {
	clock := newSilenceTimer(s.timeout, at.cancel)
	defer clock.end()
	trace := &connTrace{caller: req.Context(), clock: clock, slot: at.expires}
	to := at.feedback.route.url(s.outbound)
	for {
		ctx := at.next()
		trace.stop = at.stop
		resp, err := s.base.RoundTrip(trace.request(ctx, req, to, body))
		switch {
		case err == nil && resp.StatusCode == http.StatusSwitchingProtocols: // although no request asks for it
			resp.Body.Close()
			return nil, networkFailure(ctx, errors.New("the portal switched protocols"), true)
		case err == nil && s.outbound && isFromOutboundProxy(resp):
			resp.Body.Close()
			return nil, networkFailure(ctx, outboundRefusal(resp.StatusCode), false)
		case err == nil:
			resp.Body = &idleBody{resp.Body, clock}
			return resp, nil
		}
		lost := trace.lost(ctx, err)
		if !lost && trace.again(ctx) {
			continue
		}
		if errors.Is(context.Cause(ctx), errTimeout) {
			s.forget()
		}
		return nil, networkFailure(ctx, err, lost)
	}
}

// callerIdle bounds how long a caller may read nothing of an answer: this time at
// most, half of it at least.
const callerIdle = 2 * time.Minute

// A deliveredBody is the body of an answer on its way to the caller.
type deliveredBody struct {
	io.ReadCloser
	caller   context.Context
	exchange *exchange
	closed   func()
	deadline time.Time // of the caller's connection
}

func (b *deliveredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.exchange.failed = newFailure(answerCutOff)
		if b.caller.Err() != nil && !errors.Is(context.Cause(b.caller), errStopped) {
			b.exchange.failed = newFailure(callerLeft)
		}
	}
	if now := time.Now(); b.deadline.Sub(now) < callerIdle/2 {
		b.deadline = now.Add(callerIdle)
		b.exchange.control.SetWriteDeadline(b.deadline)
	}
	return n, err
}

func (b *deliveredBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

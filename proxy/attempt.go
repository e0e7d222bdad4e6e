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

// An attempt is one sending of a call. It outlives a caller who leaves, since
// the portal runs what has arrived; the timeout bounds it.
type attempt struct {
	done   chan struct{} // closed when the fields below are set
	resp   *http.Response
	answer bitrix24.Answer
	err    *failure

	slot   *limiter.Slot
	began  time.Time
	status int // the answer's, 0 where there is none
	ended  func()
	cancel context.CancelCauseFunc
}

// attempt begins to send a call.
func (t *transport) attempt(ex *exchange, req *http.Request, paid admission) *attempt {
	ex.attempts++
	// Of the caller's context only the exchange is taken over: ReverseProxy's hook
	// in it would pass on each informational answer, however many come.
	ctx, cancel := context.WithCancelCause(ex.in(context.Background()))
	at := &attempt{done: make(chan struct{}), slot: paid.slot, began: time.Now(), cancel: cancel}
	out := req.Clone(ctx)
	out.URL = t.target(ex.route)
	out.Host = ex.route.portal
	out.ContentLength = ex.body.size
	out.TransferEncoding = nil
	ex.body.users.Add(1)
	fb := &feedback{
		call: ex.call(req.Method), route: ex.route, key: paid.key, pass: paid.pass, cred: ex.cred,
		contentType: req.Header.Get("Content-Type"), body: ex.body.head, began: at.began,
	}
	t.journal.Record(operator.AttemptBegan{Call: fb.call})
	at.ended = sync.OnceFunc(func() {
		t.journal.Record(operator.AttemptEnded{Call: fb.call, Status: at.status, Took: time.Since(at.began)})
		if at.slot != nil {
			at.slot.Done()
		}
	})
	go func(body *body) {
		defer close(at.done)
		defer body.release()
		t.ask(req.Context(), at, out, body, fb)
		t.reached(fb.call, at.err)
		at.settle()
	}(ex.body)
	return at
}

// ask sends the request and looks at the answer.
func (t *transport) ask(caller context.Context, at *attempt, out *http.Request, body *body, fb *feedback) {
	defer func() {
		if cause := recover(); cause != nil {
			at.err = panicked(t.journal, fb.call, cause)
		}
		if at.err != nil {
			fb.lost()
		}
	}()
	at.resp, at.err = t.send(caller, out, body, at.cancel)
	if at.err == nil && at.resp.StatusCode < 200 { // net/http reads 000 to 099, and will not write them
		at.resp.Body.Close()
		at.err = networkFailure(out.Context(), fmt.Errorf("the portal answered with status %03d", at.resp.StatusCode), true)
	}
	if at.err == nil {
		at.status, fb.took = at.resp.StatusCode, time.Since(fb.began)
		at.answer = examine(at.resp, fb.route.call, func(a bitrix24.Answer) { t.learn(fb, at.resp.Header, a) })
	}
}

// settle tells the limiter what came of a slot.
func (at *attempt) settle() {
	if at.err != nil || isError(at.answer.Kind) { // nothing of it is under way, and the call may have to wait again
		defer at.ended()
	}
	slot := at.slot
	switch {
	case slot == nil:
	case at.err != nil && at.err.executed == bitrix24.RanNo:
		slot.Unsent()
	case at.err != nil || at.answer.Kind == bitrix24.KindNoAnswer:
		slot.Answered(limiter.NoAnswer)
	case isRefusal(at.answer):
		slot.Answered(limiter.Refused)
	case at.answer.Known != nil && at.answer.Known.Code == bitrix24.CodeOverloadLimit:
		slot.Answered(limiter.Overloaded)
	default:
		slot.Answered(limiter.Accepted)
	}
}

// hand gives the answer to a caller who is there; from now on it ends with him.
func (at *attempt) hand(ctx context.Context) (*http.Response, error) {
	if at.err != nil {
		at.over()
		return nil, at.err
	}
	stop := context.AfterFunc(ctx, func() { at.cancel(context.Cause(ctx)) })
	at.resp.Body = &handedBody{ReadCloser: at.resp.Body, caller: ctx, exchange: exchangeOf(ctx), closed: func() { stop(); at.over() }}
	return at.resp, nil
}

// over ends an attempt of which nothing is under way any more.
func (at *attempt) over() {
	at.cancel(nil)
	at.ended()
}

// What is read of an answer that nobody wants, so that its connection can serve
// again.
const (
	maxDiscard  = 256 << 10
	discardTime = 5 * time.Second
)

// discard waits for an attempt and throws its answer away.
func (at *attempt) discard() {
	<-at.done
	if at.resp != nil {
		enough := time.AfterFunc(discardTime, func() { at.cancel(nil) })
		io.CopyN(io.Discard, at.resp.Body, maxDiscard)
		enough.Stop()
		at.resp.Body.Close()
	}
	at.over()
}

// send makes one request, on another connection too while the portal closes
// each before it looks at the request.
func (t *transport) send(caller context.Context, out *http.Request, body *body, cancel context.CancelCauseFunc) (*http.Response, *failure) {
	clock := newSilenceTimer(t.timeout, cancel)
	defer clock.end()
	s := &connTrace{caller: caller, clock: clock}
	for {
		ctx, stop := context.WithCancelCause(out.Context())
		s.stop = stop
		resp, err := t.base.RoundTrip(s.request(out.WithContext(ctx), body))
		switch {
		case err == nil && resp.StatusCode == http.StatusSwitchingProtocols: // nobody asked for that
			resp.Body.Close()
			return nil, networkFailure(ctx, errors.New("the portal switched protocols"), true)
		case err == nil && t.isFromOutboundProxy(resp):
			resp.Body.Close()
			return nil, networkFailure(ctx, outboundRefusal(resp.StatusCode), false)
		case err == nil:
			resp.Body = newIdleBody(resp.Body, t.timeout, cancel)
			return resp, nil
		}
		lost := s.lost(ctx, err)
		if !lost && s.again(ctx) {
			continue
		}
		if errors.Is(context.Cause(ctx), errTimeout) {
			t.forget()
		}
		return nil, networkFailure(ctx, err, lost)
	}
}

// callerIdle is how long a caller may take nothing of an answer; half of it may
// already do.
const callerIdle = 2 * time.Minute

// A handedBody is an answer on its way to the caller.
type handedBody struct {
	io.ReadCloser
	caller   context.Context
	exchange *exchange
	closed   func()
	deadline time.Time // of the caller's connection
}

func (b *handedBody) Read(p []byte) (int, error) {
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

func (b *handedBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/replay"
)

// A write is a call that may change something, as the memory of writes knows it: one
// that is sent, or the repetition of one that was. A nil write is a call that is not
// remembered. Only the goroutine of the client's request uses it, besides the entry.
type write struct {
	entry      *replay.Entry // of the call; of its first if this is a repetition
	repeats    bool
	learnNames func() // under which the key of the call can be found now

	isLeft bool // the caller left while it was with the portal
	isGone bool // the caller had left before its answer was written
}

// sent says that the call goes out, and reports whether it may.
func (w *write) sent() bool { return w == nil || w.entry.Sent(time.Now()) }

// left says that the caller leaves while the call is with the portal.
func (w *write) left() {
	if w != nil {
		w.isLeft = true
		w.entry.Left(time.Now())
	}
}

// failed settles a call that ends without an answer of its portal. One whose caller has
// left is settled by its attempt.
func (w *write) failed(err error) {
	if w == nil || err == nil || w.isLeft {
		return
	}
	r := replay.Result{Outcome: replay.NotRun} // its caller left the queue
	if f, is := errors.AsType[*failure](err); is {
		r = f.result()
	}
	w.entry.Settle(time.Now(), r)
}

// settle says what became of the call, by its attempt.
func (w *write) settle(at *attempt) {
	if w != nil {
		w.learnNames()
		w.entry.Settle(time.Now(), at.result())
	}
}

// deliver notices whether the caller is there still, before its answer is written.
func (w *write) deliver(caller context.Context) {
	if w != nil {
		w.isGone = hasGone(caller)
	}
}

// end says whether the caller got the whole answer. What is not settled by then ended
// in a panic.
func (w *write) end(isFinished bool) {
	switch {
	case w == nil:
		return
	case isFinished && !w.isGone:
		w.entry.Received(time.Now())
	case !w.repeats:
		w.entry.Left(time.Now())
	}
	if w.repeats || w.isLeft || w.entry.First().Outcome != replay.UnderWay {
		return
	}
	ended := panickedBeforeSending
	if w.entry.IsSent() {
		ended = panickedMeanwhile
	}
	w.failed(newFailure(ended))
}

// hasGone reports whether the caller has left, even if net/http has not noticed yet.
func hasGone(caller context.Context) bool {
	return caller.Err() != nil || peerClosed(clientConn(caller))
}

// result is what became of a write that ended in a failure.
func (f *failure) result() replay.Result {
	r := replay.Result{Why: replay.Why(f.reason)}
	switch f.executed {
	case bitrix24.RanNo:
		r.Outcome = replay.NotRun
	case bitrix24.RanYes:
		r.Outcome = replay.Ran
	default:
		r.Outcome = replay.Unknown
	}
	return r
}

// result is what became of a write, by its attempt.
func (at *attempt) result() replay.Result {
	switch {
	case at.err != nil:
		return at.err.result()
	case at.read != nil && at.read.cutOff:
		return newFailure(answerCutOff).result()
	case at.answer.Kind == bitrix24.KindSystemError || at.answer.Kind == bitrix24.KindNoAnswer:
		return errorResult(at.answer)
	case at.status >= http.StatusInternalServerError:
		return replay.Result{Outcome: replay.Unknown, Why: replay.Why(bitrix24.ReasonNotJSON)}
	case isRedirect(at.status):
		return replay.Result{Outcome: replay.NotRun}
	}
	r := replay.Result{Outcome: replay.Answered, Success: at.answer.Kind != bitrix24.KindMethodError && at.status < http.StatusBadRequest, Why: replay.TooLarge}
	if at.read != nil && at.read.whole {
		r.Answer, r.Why = at.read, ""
	}
	return r
}

// errorResult is what became of a write that was answered with an error that has a
// "proxy" object.
func errorResult(a bitrix24.Answer) replay.Result {
	why := a.Reason
	if a.Known != nil {
		why = bitrix24.Reason(a.Known.Code)
	}
	return (&failure{errorRow: errorRow{executed: a.Executed(), reason: why}}).result()
}

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
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

// sent says that the call goes out.
func (w *write) sent() {
	if w != nil {
		w.entry.Sent(time.Now())
	}
}

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

// A readAnswer is the answer to a write, read ahead of its caller. It is kept as the
// portal sent it, and a repetition gets it in the same way as the first caller.
type readAnswer struct {
	status  int
	header  http.Header
	content []byte // its beginning
	whole   bool   // content is all of it
	cutOff  bool   // nothing follows, although something should
	meaning bitrix24.Answer
}

const firstRead = 1 << 10 // bytes that an answer takes at first

// readAhead reads the answer to a write that was accepted, so that it is there if its caller
// leaves. What is too large to be kept is left to the caller.
func (at *attempt) readAhead(w *write) {
	isError := at.err != nil || at.answer.Kind == bitrix24.KindSystemError || at.answer.Kind == bitrix24.KindNoAnswer
	if w == nil || isError {
		return
	}
	read := &readAnswer{status: at.status, header: at.resp.Header.Clone(), meaning: bitrix24.Answer{Kind: at.answer.Kind}}
	if at.answer.Kind == bitrix24.KindMethodError {
		read.meaning = at.answer
	}
	err := read.fill(at.resp.Body, w.entry)
	isEnd := errors.Is(err, io.EOF)
	read.whole, read.cutOff = isEnd && len(read.content) <= replay.MaxAnswer, err != nil && !isEnd
	at.read = read
	rest := io.Reader(at.resp.Body)
	if err != nil {
		rest = failedReader{err}
	}
	at.resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(read.content), rest), at.resp.Body}
}

// fill reads until the answer ends, or there is no more room for it. It returns the
// error that ended the answer.
func (a *readAnswer) fill(from io.Reader, room *replay.Entry) error {
	if !room.Grow(headerSize(a.header)) {
		return nil
	}
	for len(a.content) < cap(a.content) || a.grow(room) {
		n, err := from.Read(a.content[len(a.content):cap(a.content)])
		a.content = a.content[:len(a.content)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// grow makes room for more of the answer: up to one byte too many, which shows that it
// does not end there.
func (a *readAnswer) grow(room *replay.Entry) bool {
	size := min(max(2*cap(a.content), firstRead), replay.MaxAnswer+1)
	if size == cap(a.content) || !room.Grow(int64(size-cap(a.content))) {
		return false
	}
	a.content = append(make([]byte, 0, size), a.content...)
	return true
}

func headerSize(h http.Header) (n int64) {
	for name, values := range h {
		for _, value := range values {
			n += int64(len(name) + len(value))
		}
	}
	return n
}

// failedReader is what follows an answer that has ended.
type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }

// notKept are the headers of an answer that are not of the call but of its moment.
var notKept = []string{"Date", "Server-Timing", "X-Request-Id", "RateLimit", "RateLimit-Policy", "Connection", "Keep-Alive"}

// replayed is the answer to a repetition.
func (a *readAnswer) replayed(req *http.Request) *http.Response {
	header := a.header.Clone()
	for _, name := range notKept {
		header.Del(name)
	}
	header.Set("Idempotent-Replayed", "true")
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(a.content)), ContentLength: int64(len(a.content)), Request: req,
	}
}

package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/replay"
)

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

const firstRead = 1 << 10 // bytes that an answer takes at first, unless all of it is here

// readAhead reads the answer to a write before its caller does.
func (s *sender) readAhead(at *attempt, w *write) {
	defer func() {
		if cause := recover(); cause != nil {
			at.err = panicked(s.journal, at.feedback.call, cause)
		}
	}()
	at.readAhead(w)
}

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
	err := read.fill(at.resp, w.entry)
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
func (a *readAnswer) fill(from *http.Response, room *replay.Entry) error {
	if !room.Grow(headerSize(a.header)) {
		return nil
	}
	first := firstRead
	if isHeld(from) {
		first = len(from.Body.(*examination).held) + 1
	}
	for len(a.content) < cap(a.content) || a.grow(room, first) {
		n, err := from.Body.Read(a.content[len(a.content):cap(a.content)])
		a.content = a.content[:len(a.content)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// grow makes room for more of the answer: up to one byte too many, which shows that it
// does not end there.
func (a *readAnswer) grow(room *replay.Entry, first int) bool {
	size := min(max(2*cap(a.content), first), replay.MaxAnswer+1)
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

package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"b24proxy/proxy/bitrix24"
)

// What net/http cannot read as a request it refuses itself, before there is a handler:
// in plain text, without an id and uncounted, or in silence when the header is too
// slow. A headConn puts an error of the proxy in its place, so that clients read one
// form of errors and operators see these, too.

// headTime bounds how long a client may take to send the header of a request.
const headTime = 10 * time.Second

// awaitRequest is called when net/http begins to wait for a request.
func (c *headConn) awaitRequest(refusal func(*failure) []byte) {
	c.refusal, c.hasBegun = refusal, false
	c.isHandled.Store(false)
}

// handled is called when a handler has got a request: what is written from now on is
// its answer. It returns the head as the client wrote it, nil if that is not recorded.
func handled(ctx context.Context) *head {
	c := headConnOf(ctx)
	if c == nil {
		return nil
	}
	c.isHandled.Store(true)
	return c.heads.take()
}

// ownRefusal matches what net/http writes instead of an answer. The words behind the
// status are its own, and quote nothing of the request.
var ownRefusal = regexp.MustCompile(`^HTTP/1\.1 (\d{3}) [A-Za-z -]+(?:: ([^\r\n]*))?\r\n`)

// Write writes answers, and an error of the proxy in place of one of net/http.
func (c *headConn) Write(p []byte) (int, error) {
	switch {
	case c.isRefused:
		return len(p), nil
	case c.refusal == nil || c.isHandled.Load():
		return c.Conn.Write(p)
	}
	words := ownRefusal.FindSubmatch(p)
	if words == nil {
		return c.Conn.Write(p)
	}
	status, _ := strconv.Atoi(string(words[1]))
	return len(p), c.refuse(unreadable(status, string(words[2])))
}

// refuseSlow answers a client who did not send its whole header in time. One who sent
// nothing gets no answer: it might take that for the answer to its next request.
func (c *headConn) refuseSlow(err error) {
	if c.refusal != nil && c.hasBegun && !c.isHandled.Load() && !c.isRefused && errors.Is(err, os.ErrDeadlineExceeded) {
		c.refuse(newFailure(headTooSlow, headTime.Seconds()))
	}
}

// refuse answers in place of a handler.
func (c *headConn) refuse(f *failure) error {
	c.isRefused = true
	c.lingers.Store(true)
	_, err := c.Conn.Write(c.refusal(f))
	return err
}

// linger is called when the connection is closed after an answer although the client
// may still be sending.
func linger(ctx context.Context) {
	if c := headConnOf(ctx); c != nil {
		c.lingers.Store(true)
	}
}

// Close waits a little for what a client is still sending, if something was refused:
// closing the connection with unread bytes would drop the answer.
func (c *headConn) Close() error {
	if c.lingers.Swap(false) {
		c.SetReadDeadline(time.Now().Add(restIdle))
		c.CloseWrite()
		io.Copy(io.Discard, c.Conn)
	}
	return c.Conn.Close()
}

// unreadable returns the error for a request that net/http refuses with a status.
func unreadable(status int, words string) *failure {
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return newFailure(headTooLarge, headBytes)
	case http.StatusNotImplemented:
		return newFailure(encodingUnknown)
	case http.StatusHTTPVersionNotSupported:
		return newFailure(versionUnknown)
	case http.StatusExpectationFailed:
		return newFailure(expectationUnknown)
	}
	if words == "" {
		words = "malformed request"
	}
	return newFailure(headNotRead, words)
}

// refusal returns the whole answer to a request that no handler gets, and records it. The
// reason phrase is the code, since the request may have been a CONNECT.
func (p *Proxy) refusal(f *failure) []byte {
	ex := &exchange{id: requestID(nil), client: clientName(nil, bitrix24.Credential{Kind: bitrix24.CredentialNone}), began: time.Now(), isLast: true}
	r := (&http.Request{Header: http.Header{}}).WithContext(ex.in(context.Background()))
	w := &heldAnswer{header: http.Header{}}
	p.normalizer.fail(w, r, f)
	p.journal.Record(ex.ended(r.Method))
	return w.bytes(string(f.code))
}

package proxy

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"regexp"
)

// A client and a proxy must agree about where a request ends, or the rest of one
// request becomes the next one (RFC 9112, sections 6.1 and 11.2). net/http decides
// it, and a handler cannot see from what: in HTTP/1.0 it ignores Transfer-Encoding,
// and beside Transfer-Encoding it drops Content-Length.
//
// So the head of the first request on a connection is recorded, and the request is
// refused if its end is not clear. Later heads cannot be seen, since only net/http
// knows where they begin, but they do no harm. There is no second request in
// HTTP/1.0, because its connections are closed after the first; one that follows a
// request of HTTP/1.1 is refused if it has a body. Beside Content-Length,
// Transfer-Encoding alone counts, and after each body in chunks the connection is
// closed.

// hasUnclearEnd reports whether a request may end elsewhere than net/http found.
func hasUnclearEnd(r *http.Request) bool {
	first := firstHeadOf(r)
	isOld := !r.ProtoAtLeast(1, 1)
	switch {
	case first.is(r) && first.encoded && (isOld || first.sized):
		return true
	case isOld && mayHaveBody(r.Method) && r.Header["Content-Length"] == nil:
		return true
	}
	return isOld && r.ContentLength != 0 && first != nil && !first.is(r)
}

// isLast reports whether the connection is closed after a request, since what follows
// may be a part of it.
func isLast(r *http.Request) bool { return r.TransferEncoding != nil || !r.ProtoAtLeast(1, 1) }

func mayHaveBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// A firstHead is the head of the first request on a connection.
type firstHead struct {
	line           string // its first line
	encoded, sized bool   // it has Transfer-Encoding, Content-Length
}

// is reports whether the head is that of a request. It is also true for a second
// request with the same first line, but then the first was as clear.
func (h *firstHead) is(r *http.Request) bool {
	return h != nil && h.line == r.Method+" "+r.RequestURI+" "+r.Proto
}

type connKey struct{}

// withConn is for the ConnContext of an http.Server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// firstHeadOf returns nil if the server does not record heads, as with HTTP/2.
func firstHeadOf(r *http.Request) *firstHead {
	if c, ok := r.Context().Value(connKey{}).(interface{ firstHead() *firstHead }); ok {
		return c.firstHead()
	}
	return nil
}

// A headListener accepts connections that record the head of their first request.
type headListener struct{ net.Listener }

func (l headListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headConn{Conn: c}, nil
}

// A headConn records the head of its first request. Only net/http reads from it, so
// the head is complete before the handler runs, and is bounded as net/http bounds
// heads.
type headConn struct {
	net.Conn
	read  []byte     // of the head
	first *firstHead // nil until it is complete
}

func (c *headConn) firstHead() *firstHead { return c.first }

func (c *headConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.first == nil {
		c.keep(p[:n])
	}
	return n, err
}

var (
	headEnd     = regexp.MustCompile(`\n\r?\n`)
	headEncoded = regexp.MustCompile(`(?i)\ntransfer-encoding:`)
	headSized   = regexp.MustCompile(`(?i)\ncontent-length:`)
)

func (c *headConn) keep(p []byte) {
	seen := max(0, len(c.read)-len("\n\r"))
	c.read = append(c.read, p...)
	end := headEnd.FindIndex(c.read[seen:])
	if end == nil {
		return
	}
	head := c.read[:seen+end[1]]
	line, _, _ := bytes.Cut(head, []byte("\n"))
	c.first = &firstHead{
		line:    string(bytes.TrimSuffix(line, []byte("\r"))),
		encoded: headEncoded.Match(head),
		sized:   headSized.Match(head),
	}
	c.read = nil
}

// CloseWrite lets net/http close half of the connection, as it does with TCP.
func (c *headConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

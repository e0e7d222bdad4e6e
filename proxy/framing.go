package proxy

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"regexp"
)

// Where a request ends is what a client and a proxy must agree about: else the
// rest of one becomes the next (RFC 9112, sections 6.1 and 11.2). net/http
// decides it and hides from a handler what it decided from: it drops
// Transfer-Encoding from HTTP/1.0, reading no body or one of Content-Length, and
// drops Content-Length beside Transfer-Encoding.
//
// So the head of the first request on a connection is kept, and refused if it is
// unclear. The later ones cannot be seen, as only net/http knows where they
// begin; they do no harm: HTTP/1.0 has no second request, since its connections
// are closed after the first, and one that comes after HTTP/1.1 is refused if it
// has a body; Transfer-Encoding beside Content-Length is read by the former
// alone, and after each body in chunks the connection is closed.

// hasUnclearEnd reports whether a request may have another end than net/http found.
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

// isLast reports whether the connection is closed after a request, as what
// follows may be a part of it.
func isLast(r *http.Request) bool { return r.TransferEncoding != nil || !r.ProtoAtLeast(1, 1) }

func mayHaveBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// A firstHead is the head of the first request on a connection.
type firstHead struct {
	line           string // its first line
	encoded, sized bool   // it has Transfer-Encoding, Content-Length
}

// is reports whether the head is that of a request. A second one with the same
// line passes for it: then the first was as clear.
func (h *firstHead) is(r *http.Request) bool {
	return h != nil && h.line == r.Method+" "+r.RequestURI+" "+r.Proto
}

type connKey struct{}

// withConn is an http.Server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// firstHeadOf is nil where the server does not use a headListener.
func firstHeadOf(r *http.Request) *firstHead {
	if c, ok := r.Context().Value(connKey{}).(*headConn); ok {
		return c.first
	}
	return nil
}

// A headListener makes connections that keep the head of their first request.
type headListener struct{ net.Listener }

func (l headListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headConn{Conn: c}, nil
}

// A headConn is read by net/http alone. What it keeps is complete before the
// request has a handler, and is bounded as net/http bounds heads.
type headConn struct {
	net.Conn
	read  []byte     // of the head
	first *firstHead // nil until it is complete
}

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

// CloseWrite lets net/http end a connection as that of TCP.
func (c *headConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

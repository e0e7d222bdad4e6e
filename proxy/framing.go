package proxy

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// A client and a proxy must agree about where a request ends, or the rest of one
// request becomes the next one (RFC 9112, sections 6.1 and 11.2). net/http decides
// it, and a handler cannot see from what: in HTTP/1.0 it ignores Transfer-Encoding,
// beside Transfer-Encoding it drops Content-Length, and it joins folded lines.
//
// So the heads of the requests on a connection are recorded (heads.go), and a request
// is refused if its end is not clear. After a body in chunks and after a request of
// HTTP/1.0 the connection is closed, since what follows may be a part of it.

// hasUnclearEnd reports whether a request may end elsewhere than net/http found.
func hasUnclearEnd(r *http.Request, recorded *head) bool {
	isOld := !r.ProtoAtLeast(1, 1)
	if recorded == nil {
		return isOld && mayHaveBody(r.Method) && r.Header["Content-Length"] == nil
	}
	switch {
	case !recorded.isOf(r), recorded.folded:
		return true
	case recorded.encoded:
		return isOld || recorded.sized
	}
	return isOld && mayHaveBody(r.Method) && !recorded.sized
}

// isLast reports whether the connection is closed after a request, since what follows
// may be a part of it.
func isLast(r *http.Request, recorded *head) bool {
	return r.TransferEncoding != nil || !r.ProtoAtLeast(1, 1) || hasUnclearEnd(r, recorded)
}

func mayHaveBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

type connKey struct{}

// withConn is for the ConnContext of an http.Server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// clientConn returns the connection of a client, nil if it is not known.
func clientConn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// headConnOf returns the connection of a request if it records heads, as it does not
// with HTTP/2, and else nil.
func headConnOf(ctx context.Context) *headConn {
	if c, ok := ctx.Value(connKey{}).(interface{ self() *headConn }); ok {
		return c.self()
	}
	return nil
}

// A headListener accepts connections that record the heads of their requests.
type headListener struct{ net.Listener }

func (l headListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headConn{Conn: c}, nil
}

// A headConn records the heads of its requests. It also answers in place of net/http
// (unread.go).
type headConn struct {
	net.Conn
	heads heads

	refusal   func(*failure) []byte // what is written in place of net/http's own words; nil: those
	isHandled atomic.Bool           // a handler has got the request
	isRefused bool                  // the error is written; net/http may want to write its own after it
	lingers   atomic.Bool           // closing it must not drop the answer
	hasBegun  bool                  // a byte of the next request has come
}

func (c *headConn) self() *headConn { return c }

// NetConn returns the connection below.
func (c *headConn) NetConn() net.Conn { return c.Conn }

func (c *headConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heads.record(p[:n])
	c.hasBegun = c.hasBegun || n > 0
	if err != nil {
		c.refuseSlow(err)
	}
	return n, err
}

// CloseWrite lets net/http close half of the connection, as it does with TCP.
func (c *headConn) CloseWrite() error { return closeWrite(c.Conn) }

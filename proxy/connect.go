package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A client that is told to use an HTTP proxy for https sends CONNECT and the host that
// it wants to speak to. Once that is answered, its connection is a tunnel.
//
// A tunnel to a portal ends here: the TLS listener answers in it under the portal's
// name, and what comes over it are calls like all others. So opening one is not a call.

// A connector decides where CONNECT may lead.
type connector struct {
	router *router
	ca     Certificates // may be nil
}

// A tunnel is where a CONNECT leads.
type tunnel struct{ host string }

// connect finds out where a CONNECT leads, and prepares that.
func (c *connector) connect(r *http.Request, isIn bool) (*tunnel, *failure) {
	host, failed := c.target(r.RequestURI)
	switch {
	case tunnelOf(r.Context()) != nil:
		return nil, newFailure(connectInTunnel)
	case failed != nil:
		return nil, failed
	case r.ProtoMajor > 1:
		return nil, newFailure(connectOverHTTP2)
	case r.ContentLength != 0: // it would be the first bytes of the tunnel
		return nil, newFailure(bodyEndNotClear)
	case c.ca == nil:
		return nil, newFailure(connectNotEnabled)
	case !isIn:
		return nil, draining()
	}
	if _, err := c.ca.Certificate(host); err != nil {
		return nil, newFailure(connectNotSigned, host, err)
	}
	return &tunnel{host}, nil
}

// target returns the host that CONNECT may lead to.
func (c *connector) target(authority string) (host string, failed *failure) {
	name, port, err := net.SplitHostPort(authority)
	if err != nil || port != portalPort || strings.Contains(name, ":") {
		return "", connectRefused(authority)
	}
	_, host, isAllowed := c.router.portal(authority, portalPort)
	if !isAllowed {
		return "", connectRefused(authority)
	}
	return host, nil
}

// connectRefused returns the error for a CONNECT that leads nowhere. It repeats the
// target only if that surely is a host.
func connectRefused(authority string) *failure {
	host, err := cleanHost(authority, portalPort)
	if err != nil || !strings.Contains(hostOnly(host), ".") {
		return newFailure(connectNotAllowed, "this address")
	}
	f := newFailure(connectNotAllowed, host)
	f.requested = host
	return f
}

// openTunnel answers a CONNECT that is allowed. What the client sends from now on is
// not a request to this server any more.
func (p *Proxy) openTunnel(w *answerWriter, r *http.Request, ex *exchange) {
	client, err := takeOver(w, ex)
	if err != nil {
		p.fail(w, r, newFailure(connectOverHTTP2))
		return
	}
	client.host = ex.tunnel.host
	if p.config.Clients.Any() {
		client.client = ex.client
	}
	if err := p.confirm(client, ex); err != nil {
		client.Close()
		return
	}
	go p.secured.handshake(client)
}

// confirm tells the client that the tunnel is open.
func (p *Proxy) confirm(client net.Conn, ex *exchange) error {
	head := make(http.Header)
	p.normalizer.describe(head, ex)
	head.Del("Connection")
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 200 Connection established\r\n")
	head.Write(&answer)
	answer.WriteString("\r\n")
	client.SetWriteDeadline(time.Now().Add(connectAnswerTime))
	_, err := client.Write(answer.Bytes())
	client.SetWriteDeadline(time.Time{})
	return err
}

// connectAnswerTime bounds how long it may take to write the answer to CONNECT, which
// is short.
const connectAnswerTime = 10 * time.Second

// fail answers in the portal's stead.
func (p *Proxy) fail(w *answerWriter, r *http.Request, failed *failure) {
	if r.Method == http.MethodConnect {
		p.refuseConnect(w, r, failed)
		return
	}
	p.normalizer.fail(w, r, failed)
}

// refuseConnect answers a CONNECT with an error. Many clients show nothing of the
// answer but its first line, so the reason phrase there is the code. HTTP/2 has none.
func (p *Proxy) refuseConnect(w *answerWriter, r *http.Request, failed *failure) {
	ex := exchangeOf(r.Context())
	held := &heldAnswer{header: w.Header()}
	p.normalizer.fail(held, r, failed)
	client, err := takeOver(w, ex)
	if err != nil {
		w.WriteHeader(held.status)
		w.Write(held.content.Bytes())
		return
	}
	defer client.Close()
	held.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	answer := http.Response{
		Status: fmt.Sprintf("%d %s", held.status, ex.failed.code), StatusCode: held.status, ProtoMajor: 1, ProtoMinor: 1,
		Header: held.header, ContentLength: int64(held.content.Len()), Body: io.NopCloser(&held.content), Close: true,
	}
	client.SetDeadline(time.Now().Add(restIdle))
	answer.Write(client)
	client.CloseWrite()
	io.Copy(io.Discard, client) // else closing would drop the answer
}

// A heldAnswer keeps an answer.
type heldAnswer struct {
	header  http.Header
	status  int
	content bytes.Buffer
}

func (a *heldAnswer) Header() http.Header         { return a.header }
func (a *heldAnswer) WriteHeader(status int)      { a.status = status }
func (a *heldAnswer) Write(p []byte) (int, error) { return a.content.Write(p) }

// takeOver takes the connection of a CONNECT from the server.
func takeOver(w *answerWriter, ex *exchange) (*tunnelConn, error) {
	conn, buffered, err := ex.control.Hijack()
	if err != nil {
		return nil, err
	}
	w.wrote = true
	return &tunnelConn{Conn: conn, early: unread(buffered.Reader)}, nil
}

// unread returns what a reader has buffered.
func unread(r *bufio.Reader) []byte {
	p, _ := r.Peek(r.Buffered())
	return bytes.Clone(p)
}

// A tunnelConn is the connection of a client after CONNECT.
type tunnelConn struct {
	net.Conn
	early  []byte // came together with the request
	host   string // that the client asked for
	client string // whose key the request had; "" where none is needed
}

func (c *tunnelConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	c.early = nil
	return c.Conn.Read(p)
}

// NetConn returns the connection below.
func (c *tunnelConn) NetConn() net.Conn { return c.Conn }

// CloseWrite tells the client that nothing more comes.
func (c *tunnelConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// tunnelOf returns the tunnel over which a request came, or nil.
func tunnelOf(ctx context.Context) *tunnelConn {
	conn := ctx.Value(connKey{})
	if http1, ok := conn.(*tlsConn); ok {
		conn = http1.secured
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	t, _ := conn.(*tunnelConn)
	return t
}

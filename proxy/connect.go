package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"b24proxy/proxy/access"
	"b24proxy/proxy/operator"
)

// A client that is told to use an HTTP proxy for https sends CONNECT and the host that
// it wants to speak to. Once that is answered, its connection is a tunnel.
//
// A tunnel to a portal ends here: the TLS listener answers in it under the portal's
// name, and what comes over it are calls like all others. So opening one is not a call.
// A blind tunnel carries bytes to a host that is not a portal: clients refresh their
// tokens through it.

// A connector decides where CONNECT may lead.
type connector struct {
	router  *router
	ca      Certificates  // for tunnels to portals; may be nil
	hosts   []HostPattern // of blind tunnels
	tunnels *access.Tunnels
	dial    func(ctx context.Context, addr string) (net.Conn, error)
}

func newConnector(c *Config, router *router, tunnels *access.Tunnels) *connector {
	return &connector{router: router, ca: c.CA, hosts: c.TunnelHosts, tunnels: tunnels, dial: newTunnelDial(c)}
}

// newTunnelDial returns a function that connects to the hosts of blind tunnels. Only
// B24PROXY_CONNECT_TO may lead it to an address that is not public.
func newTunnelDial(c *Config) func(ctx context.Context, addr string) (net.Conn, error) {
	dial := newDial(c, func(string) bool { return false })
	if c.OutboundProxy != nil {
		return (&outbound{c.OutboundProxy, c.Roots, dial}).connect
	}
	return func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }
}

// A tunnel is where a CONNECT leads.
type tunnel struct {
	host  string
	blind *access.Tunnel // nil: the tunnel ends here
}

// connect finds out where a CONNECT leads, and prepares that.
func (c *connector) connect(r *http.Request, isIn bool) (*tunnel, *failure) {
	host, isBlind, failed := c.target(r.RequestURI)
	switch {
	case tunnelOf(r.Context()) != nil:
		return nil, newFailure(connectInTunnel)
	case failed != nil:
		return nil, failed
	case r.ProtoMajor > 1:
		return nil, newFailure(connectOverHTTP2)
	case r.ContentLength != 0: // it would be the first bytes of the tunnel
		return nil, newFailure(bodyEndNotClear)
	case !isBlind && c.ca == nil:
		return nil, newFailure(connectNotEnabled)
	case !isIn:
		return nil, draining()
	case isBlind:
		return c.reach(host)
	}
	if _, err := c.ca.Certificate(host); err != nil {
		return nil, newFailure(connectNotSigned, host, err)
	}
	return &tunnel{host: host}, nil
}

// target returns the host to which a CONNECT leads, and reports whether by a blind
// tunnel.
func (c *connector) target(authority string) (host string, isBlind bool, failed *failure) {
	name, port, err := net.SplitHostPort(authority)
	if err != nil || port != portalPort || strings.Contains(name, ":") {
		return "", false, connectRefused(authority)
	}
	if host, err := cleanHost(authority, portalPort); err == nil && Listed(c.hosts, host) {
		return host, true, nil
	}
	if _, host, isAllowed := c.router.portal(authority, portalPort); isAllowed {
		return host, false, nil
	}
	return "", false, connectRefused(authority)
}

// reach opens a blind tunnel. A client that leaves meanwhile is not noticed, so that one
// that has only closed its half after its first bytes gets its answer.
func (c *connector) reach(host string) (*tunnel, *failure) {
	open, err := c.tunnels.Open(func(ctx context.Context) (net.Conn, error) {
		return c.dial(ctx, net.JoinHostPort(host, portalPort))
	})
	switch {
	case err == nil:
		return &tunnel{host, open}, nil
	case errors.Is(err, access.ErrTunnelsClosed):
		return nil, draining()
	case errors.Is(err, access.ErrTooManyTunnels):
		return nil, newFailure(tooManyTunnels, host, err)
	}
	f := newFailure(tunnelHostUnreachable, host, cause(err))
	f.cause = err
	return nil, f
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
		ex.tunnel.close()
		p.fail(w, r, newFailure(connectOverHTTP2))
		return
	}
	if err := p.confirm(client, ex); err != nil {
		ex.tunnel.close()
		client.Close()
		return
	}
	call, host := ex.call(r.Method), ex.tunnel.host
	p.journal.Record(operator.TunnelOpened{Call: call, Host: host})
	if blind := ex.tunnel.blind; blind != nil {
		sent, received := blind.Carry(client)
		p.journal.Record(operator.TunnelEnded{Call: call, Host: host, Sent: sent, Received: received, Took: time.Since(ex.began)})
		return
	}
	client.host = host
	if p.config.Clients.Any() {
		client.client = ex.client
	}
	go p.secured.handshake(client)
}

// close closes a tunnel that nobody uses.
func (t *tunnel) close() {
	if t.blind != nil {
		t.blind.Close()
	}
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
	linger(r.Context())
	client.SetWriteDeadline(time.Now().Add(connectAnswerTime))
	client.Write(held.bytes(string(ex.failed.code)))
	client.Close()
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

// bytes returns the answer as it is written before a connection is closed.
func (a *heldAnswer) bytes(reason string) []byte {
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	answer := http.Response{
		Status: fmt.Sprintf("%d %s", a.status, reason), StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, ContentLength: int64(a.content.Len()), Body: io.NopCloser(&a.content), Close: true,
	}
	var all bytes.Buffer
	answer.Write(&all)
	return all.Bytes()
}

// takeOver takes the connection of a CONNECT from the server.
func takeOver(w *answerWriter, ex *exchange) (*tunnelConn, error) {
	conn, buffered, err := ex.control.Hijack()
	if err != nil {
		return nil, err
	}
	w.wrote = true
	return &tunnelConn{earlyConn: earlyConn{conn, unread(buffered.Reader)}}, nil
}

// unread returns what a reader has buffered.
func unread(r *bufio.Reader) []byte {
	p, _ := r.Peek(r.Buffered())
	return bytes.Clone(p)
}

// A tunnelConn is the connection of a client after CONNECT.
type tunnelConn struct {
	earlyConn
	host   string // that the client asked for
	client string // whose key the request had; "" where none is needed
}

// An earlyConn is a connection of which some bytes have been read already.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	c.early = nil
	return c.Conn.Read(p)
}

// NetConn returns the connection below.
func (c *earlyConn) NetConn() net.Conn { return c.Conn }

// CloseWrite passes on that nothing more comes.
func (c *earlyConn) CloseWrite() error { return closeWrite(c.Conn) }

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

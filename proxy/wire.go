package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is below the 65 to 75 seconds after which web servers close
	// idle connections, so that a call seldom meets one that is just closing.
	idleTimeout = 45 * time.Second
)

// newWire makes the transport that talks to portals. It sends each request at
// most once: bodies cannot be rewound (body.open), and whether a request may
// be sent again is not its to say.
func newWire(connectTo HostMap[string], roots *x509.CertPool, via *url.URL) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if to, ok := instead(connectTo, addr); ok {
				addr = to
			}
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countingConn{Conn: conn}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // answers pass as the client asked for them
		MaxIdleConns:        1000,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     idleTimeout,
	}
	if via != nil {
		t.Proxy = http.ProxyURL(via)
	}
	return t
}

// instead finds the address that stands for a portal's: by its port too, else
// by its name.
func instead(m HostMap[string], addr string) (string, bool) {
	for _, port := range []string{portalPort, portOf(addr)} {
		host, err := cleanHost(addr, port)
		if err != nil {
			return "", false
		}
		if to, ok := m.find(host); ok {
			return to, true
		}
	}
	return "", false
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// A countingConn knows how much was written to it.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// A wire watches how far a request gets: whether a byte of it can have reached
// the portal.
type wire struct {
	caller context.Context
	conn   *countingConn // the request's, nil until it has one
	known  bool          // conn tells of this request alone: not of HTTP/2
	tls    bool
	reused bool
	before int64
	wrote  atomic.Bool // the request's header was written
}

func (w *wire) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: w.gotConn, WroteHeaders: func() { w.wrote.Store(true) }}
}

func (w *wire) gotConn(info httptrace.GotConnInfo) {
	w.reused, w.known = info.Reused, true
	conn := info.Conn
	for { // TLS within the TLS of an https proxy
		secure, ok := conn.(*tls.Conn)
		if !ok {
			break
		}
		w.tls = true
		w.known = w.known && secure.ConnectionState().NegotiatedProtocol != "h2"
		conn = secure.NetConn()
	}
	w.conn, _ = conn.(*countingConn)
	w.known = w.known && w.conn != nil
	if w.known {
		w.before = w.conn.written.Load()
	}
	if w.known && w.caller.Err() != nil { // he left during the dial: nothing is sent
		info.Conn.Close()
	}
}

// closeNotify is the longest TLS record that says goodbye (31 bytes with
// AES-GCM in TLS 1.2). No request fits into it.
const closeNotify = 31

// sent tells whether a part of the request may have left, given the error that
// it ended with.
func (w *wire) sent(err error) bool {
	switch {
	case !w.wrote.Load(), neverProcessed(err):
		return false
	case !w.known:
		return true
	}
	written := w.conn.written.Load() - w.before
	return written > closeNotify || written > 0 && !w.tls
}

// stale tells whether an old connection turned out to be closed before the
// request began on it.
func (w *wire) stale(err error) bool { return w.reused && !w.sent(err) }

// neverProcessed tells whether an HTTP/2 server said that it has not looked at
// the request: its stream came after the last one of a GOAWAY, or was refused
// (RFC 9113, sections 6.8 and 8.7). net/http would repeat such a request, but
// cannot rewind its body; it tells so in words alone.
func neverProcessed(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "http2: Transport: cannot retry err") &&
		(strings.Contains(text, "GOAWAY") || strings.Contains(text, "REFUSED_STREAM"))
}

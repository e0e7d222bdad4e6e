package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is below the 65 to 75 seconds after which web servers close
	// idle connections, so that a call seldom meets one that is just closing.
	idleTimeout = 45 * time.Second
	// pingAfter is how long an HTTP/2 connection is silent before it is asked
	// whether it is alive, and how long it may take to answer.
	pingAfter = 15 * time.Second
	// maxUnsent is what the kernel keeps of a request before the network takes it.
	maxUnsent = 128 << 10
)

// newPortalTransport makes the transport that talks to portals. What may be sent again is
// not its to say (see sending). Only hosts that the settings name may be at an
// address that is not public.
func newPortalTransport(c *Config, named func(host string) bool) *http.Transport {
	everywhere, public := newDialer(func(string) error { return nil }), newDialer(onlyPublic)
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialer := public
			if to, ok := dialedInstead(c.ConnectTo, addr); ok {
				addr, dialer = to, everywhere
			}
			if c.OutboundProxy != nil || named(addr) { // where that is set, nothing else is dialled
				dialer = everywhere
			}
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countingConn{Conn: conn}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // answers pass as the client asked for them
		MaxIdleConns:        1000,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     idleTimeout,
		HTTP2: &http.HTTP2Config{
			// A connection that died without a word is found out before a call
			// on it has waited for its whole time-out.
			SendPingTimeout:  min(pingAfter, c.UpstreamTimeout/4),
			PingTimeout:      min(pingAfter, c.UpstreamTimeout/4),
			WriteByteTimeout: c.UpstreamTimeout,
		},

		MaxResponseHeaderBytes: 1 << 20, // with the informational answers before it
	}
	if c.OutboundProxy != nil {
		t.Proxy = http.ProxyURL(c.OutboundProxy)
		t.OnProxyConnectResponse = checkConnect
	}
	return t
}

// newDialer makes a dialer that asks about each address before it connects.
func newDialer(allow func(address string) error) *net.Dialer {
	return &net.Dialer{
		Timeout: dialTimeout, KeepAlive: 15 * time.Second,
		Control: func(_, address string, c syscall.RawConn) error {
			boundUnsent(c)
			return allow(address)
		},
	}
}

// dialedInstead finds the address that stands for a portal's: by its port too, else
// by its name.
func dialedInstead(m HostMap[string], addr string) (string, bool) {
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

package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than the 65 to 75 seconds after which web servers close
	// idle connections, so that calls seldom use one that is just being closed.
	idleTimeout = 45 * time.Second
	// pingAfter is after how much silence an HTTP/2 connection is pinged, and how
	// long the ping may take.
	pingAfter = 15 * time.Second
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// newDial returns a function that connects to hosts, or to the outbound proxy if there
// is one. Only hosts that the settings name may have an address that is not public.
func newDial(c *Config, named func(host string) bool) dialFunc {
	everywhere, public := newDialer(func(string) error { return nil }), newDialer(onlyPublic)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := public
		if to, ok := dialedInstead(c.ConnectTo, addr); ok {
			addr, dialer = to, everywhere
		}
		if c.OutboundProxy != nil || named(addr) { // with an outbound proxy, nothing else is dialled
			dialer = everywhere
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

// newPortalTransport returns the transport that connects to portals. It must not send
// anything again by itself (see connTrace).
func newPortalTransport(c *Config, named func(host string) bool) *http.Transport {
	dial := newDial(c, named)
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
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
			// A dead connection is noticed before a call on it has waited for its
			// whole timeout.
			SendPingTimeout:  min(pingAfter, c.UpstreamTimeout/4),
			PingTimeout:      min(pingAfter, c.UpstreamTimeout/4),
			WriteByteTimeout: c.UpstreamTimeout,
		},

		MaxResponseHeaderBytes: 1 << 20, // including the informational answers before it
	}
	if c.OutboundProxy != nil {
		t.Proxy = http.ProxyURL(c.OutboundProxy)
		t.OnProxyConnectResponse = checkConnect
	}
	return t
}

// newDialer returns a dialer that connects only to addresses for which allow does not
// fail.
func newDialer(allow func(address string) error) *net.Dialer {
	return &net.Dialer{
		Timeout: dialTimeout,
		Control: func(_, address string, c syscall.RawConn) error {
			boundUnsent(c)
			return allow(address)
		},
	}
}

// dialedInstead returns the address that is dialled in place of a portal's: the one
// for its name and port, or else the one for its name.
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

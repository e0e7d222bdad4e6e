package proxy

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// An outboundRefusal is the status with which the outbound proxy refused to carry a
// request. Nothing of it has reached the portal.
type outboundRefusal int

func (status outboundRefusal) Error() string {
	if status == http.StatusProxyAuthRequired {
		return "the outbound proxy (B24PROXY_OUTBOUND_PROXY) asks for a user and password"
	}
	return fmt.Sprintf("the outbound proxy (B24PROXY_OUTBOUND_PROXY) refused with status %d", int(status))
}

// checkConnect is called with the outbound proxy's answer to CONNECT.
func checkConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return outboundRefusal(resp.StatusCode)
	}
	return nil
}

// isFromOutboundProxy reports whether an answer to a request for a portal without TLS
// comes from the outbound proxy itself.
func isFromOutboundProxy(resp *http.Response) bool {
	return resp.Request.URL.Scheme == "http" &&
		resp.StatusCode == http.StatusProxyAuthRequired && resp.Header.Get("Proxy-Authenticate") != ""
}

// An outbound connects to hosts through the outbound proxy.
type outbound struct {
	proxy *url.URL
	roots *x509.CertPool // for a proxy that speaks TLS
	dial  dialFunc
}

// connect asks the outbound proxy for a connection to host:port.
func (o *outbound) connect(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := o.reach(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(dialTimeout))
	through, err := o.ask(ctx, conn, addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return through, nil
}

// reach connects to the outbound proxy itself.
func (o *outbound) reach(ctx context.Context) (net.Conn, error) {
	isTLS := o.proxy.Scheme == "https"
	port := cmp.Or(o.proxy.Port(), defaultPort(o.proxy.Scheme))
	conn, err := o.dial(ctx, "tcp", net.JoinHostPort(o.proxy.Hostname(), port))
	if err != nil || !isTLS {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secured := tls.Client(conn, &tls.Config{RootCAs: o.roots, ServerName: o.proxy.Hostname(), MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// ask sends a CONNECT over a connection to the outbound proxy, and reads the answer.
func (o *outbound) ask(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if user := o.proxy.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	from := bufio.NewReader(io.LimitReader(conn, maxConnectAnswer))
	err := req.Write(conn)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(from, req)
	}
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	return &earlyConn{conn, unread(from)}, checkConnect(ctx, o.proxy, req, resp)
}

// maxConnectAnswer bounds the answer of the outbound proxy to CONNECT.
const maxConnectAnswer = 64 << 10

package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"b24proxy/proxy/certs"
)

// A secure is a proxy with a CA that listens with and without TLS.
type secure struct {
	p            *Proxy
	clients, tls string // host:port
	roots        *x509.CertPool
	stop         context.CancelCauseFunc
	ended        chan error
}

// serveTLS runs a proxy with a CA until stop is called or the test ends.
func serveTLS(t *testing.T, portal http.Handler, edit func(*Config)) *secure {
	t.Helper()
	ca := must(certs.Open(t.TempDir(), certs.Names{Zones: []string{"bitrix24.com"}, Hosts: []string{"localhost"}}, slog.New(slog.DiscardHandler)))
	p := newProxy(t, func(c *Config) {
		c.Upstream, c.CA = nil, ca
		if edit != nil {
			edit(c)
		}
	})
	if portal != nil {
		p.behind(portal)
	}
	loopback := func() net.Listener { return must(net.Listen("tcp", "127.0.0.1:0")) }
	on := Listeners{Clients: loopback(), TLS: loopback(), Admin: loopback()}
	ctx, stop := context.WithCancelCause(t.Context())
	s := &secure{p, on.Clients.Addr().String(), on.TLS.Addr().String(), x509.NewCertPool(), stop, make(chan error, 1)}
	s.roots.AppendCertsFromPEM(ca.RootPEM())
	var serving sync.WaitGroup
	serving.Go(func() { s.ended <- p.Serve(ctx, on, 10*time.Second) })
	t.Cleanup(func() { stop(nil); serving.Wait() })
	return s
}

// client returns a client to whom DNS shows the TLS port of the proxy for every name.
func (s *secure) client(t *testing.T, isHTTP2 bool, serverName string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!isHTTP2)
	protocols.SetHTTP2(isHTTP2)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.tls)
		},
		TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: serverName},
		Protocols:       protocols,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// Clients reach the portal whose name they dial, with HTTP/2 and with HTTP/1.1, and
// the certificate is that of the name. The Host decides about the portal, not the name
// in the greeting.
func TestTLSByName(t *testing.T) {
	portal := &recordingPortal{}
	s := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Portal", r.Host)
		portal.ServeHTTP(w, r)
	}), nil)
	for name, c := range map[string]struct {
		isHTTP2                  bool
		serverName, host, portal string
		status                   int
	}{
		"HTTP/2":                       {true, "", "acme.bitrix24.com", "acme.bitrix24.com", 200},
		"HTTP/1.1":                     {false, "", "acme.bitrix24.com", "acme.bitrix24.com", 200},
		"Host with a port":             {false, "", "acme.bitrix24.com:443", "acme.bitrix24.com", 200},
		"another name in the greeting": {true, "other.bitrix24.com", "acme.bitrix24.com", "acme.bitrix24.com", 200},
		"the name of the proxy":        {false, "localhost", "acme.bitrix24.com", "acme.bitrix24.com", 200},
		"its address, without a name":  {false, "127.0.0.1", "acme.bitrix24.com", "acme.bitrix24.com", 200},
		"a host that is not allowed":   {true, "acme.bitrix24.com", "evil.example", "", 403},
		"HTTP/2, no portal named":      {true, "localhost", "localhost", "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := s.client(t, c.isHTTP2, c.serverName).Post("https://"+c.host+"/rest/1/hookcode/crm.deal.list", "", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.status || resp.Header.Get("X-Portal") != c.portal || (resp.ProtoMajor == 2) != c.isHTTP2 || resp.Header.Get("X-Request-Id") == "" {
				t.Errorf("got %s %d from %q, want %d from %q with a request id", resp.Proto, resp.StatusCode, resp.Header.Get("X-Portal"), c.status, c.portal)
			}
		})
	}
}

// The CA signs for no foreign name. A client that asks for one gets a certificate that
// it can refuse.
func TestTLSForAForeignName(t *testing.T) {
	s := serveTLS(t, good, nil)
	for _, name := range []string{"evil.example", "bitrix24.com", "oauth.bitrix.info", "acme.bitrix24.com.evil.example"} {
		conn, err := tls.Dial("tcp", s.tls, &tls.Config{RootCAs: s.roots, ServerName: name})
		if err == nil || !strings.Contains(err.Error(), "valid for localhost, not "+name) {
			t.Errorf("%s: got %v, want an error that names the certificate's host", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// Clients that speak neither ALPN nor SNI are served, also those that offer only
// HTTP/1.0, and the end of a request is as clear over TLS as without.
func TestOldClientsOverTLS(t *testing.T) {
	const last = "POST /rest/last HTTP/1.1\r\nHost: acme.bitrix24.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for what, c := range map[string]struct {
		version               uint16
		sent, status, arrived string
		offers                []string
	}{
		"TLS 1.2, HTTP/1.0":             {tls.VersionTLS12, "GET /rest/x HTTP/1.0\r\nHost: acme.bitrix24.com\r\n\r\n", "200", "GET /rest/x ", nil},
		"TLS 1.3, HTTP/1.0 by ALPN":     {tls.VersionTLS13, "GET /rest/x HTTP/1.0\r\nHost: acme.bitrix24.com\r\n\r\n", "200", "GET /rest/x ", []string{"http/1.0"}},
		"TLS 1.3, HTTP/1.1":             {tls.VersionTLS13, last, "200", "POST /rest/last ", nil},
		"chunks and a length":           {tls.VersionTLS13, "POST /rest/x HTTP/1.1\r\nHost: acme.bitrix24.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last, "400", "", nil},
		"HTTP/1.0 with chunks":          {tls.VersionTLS13, "POST /rest/x HTTP/1.0\r\nHost: acme.bitrix24.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "", nil},
		"two requests, one after other": {tls.VersionTLS12, strings.Replace(last, "Connection: close\r\n", "", 1) + last, "200 200", "POST /rest/last , POST /rest/last ", nil},
	} {
		t.Run(what, func(t *testing.T) {
			portal := &recordingPortal{}
			s := serveTLS(t, portal, nil)
			conn := must(tls.Dial("tcp", s.tls, &tls.Config{InsecureSkipVerify: true, MaxVersion: c.version, NextProtos: c.offers}))
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			io.WriteString(conn, c.sent)
			content, _ := io.ReadAll(conn)
			var status []string
			for _, line := range statusLine.FindAllStringSubmatch(string(content), -1) {
				status = append(status, line[1])
			}
			if got := strings.Join(status, " "); got != c.status || portal.arrived() != c.arrived {
				t.Errorf("answered %s, want %s; the portal got %q, want %q\n%s", got, c.status, portal.arrived(), c.arrived, content)
			}
		})
	}
}

// A client that speaks HTTP to the TLS port reads what is wrong.
func TestHTTPToTheTLSPort(t *testing.T) {
	s := serveTLS(t, good, nil)
	conn := must(net.Dial("tcp", s.tls))
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: acme.bitrix24.com\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	content := must(io.ReadAll(resp.Body))
	if code := codeOf(t, resp, content); resp.StatusCode != http.StatusBadRequest || code != "REQUEST_NOT_READ" || !strings.Contains(string(content), "https://") {
		t.Errorf("got %d %s, want 400 REQUEST_NOT_READ with a word about https", resp.StatusCode, content)
	}
}

// oneCertificate is a certificate for every host.
type oneCertificate struct{ cert *tls.Certificate }

func (c oneCertificate) Certificate(string) (*tls.Certificate, error) { return c.cert, nil }

// The operator's own certificate is used for the names that it has, for clients that
// send no name, and for all where there is no CA.
func TestOwnCertificate(t *testing.T) {
	other := must(certs.Open(t.TempDir(), certs.Names{Hosts: []string{"proxy.example.org"}}, slog.New(slog.DiscardHandler)))
	own := oneCertificate{must(other.Certificate("proxy.example.org"))}
	for name, c := range map[string]struct {
		hasCA            bool
		serverName, want string
	}{
		"its own name":           {true, "proxy.example.org", "proxy.example.org"},
		"no name":                {true, "", "proxy.example.org"},
		"a portal":               {true, "acme.bitrix24.com", "acme.bitrix24.com"},
		"a portal, without a CA": {false, "acme.bitrix24.com", "proxy.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveTLS(t, good, func(config *Config) {
				config.Certificate = own
				if !c.hasCA {
					config.CA = nil
				}
			})
			conn := must(tls.Dial("tcp", s.tls, &tls.Config{InsecureSkipVerify: true, ServerName: c.serverName}))
			defer conn.Close()
			if got := conn.ConnectionState().PeerCertificates[0].DNSNames; fmt.Sprint(got) != "["+c.want+"]" {
				t.Errorf("got a certificate for %v, want %s", got, c.want)
			}
		})
	}
}

// A proxy that stops does not wait for clients that have not begun TLS, and calls on
// idle TLS connections are over.
func TestShutdownWithTLSConnections(t *testing.T) {
	s := serveTLS(t, good, nil)
	silent := must(net.Dial("tcp", s.tls))
	defer silent.Close()
	for _, isHTTP2 := range []bool{false, true} {
		resp := must(s.client(t, isHTTP2, "").Get("https://acme.bitrix24.com/rest/x"))
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	began := time.Now()
	s.stop(nil)
	if err := <-s.ended; err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v, want no error and no wait", err, time.Since(began))
	}
	if _, err := net.Dial("tcp", s.tls); err == nil {
		t.Error("it still listens, want the TLS listener closed")
	}
}

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// rootsOf returns what clients of a program with a CA in a folder must trust.
func rootsOf(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(printsRoot(t, dir))
	return roots
}

// dialConnect sends a CONNECT on a connection of its own, and returns the first line of
// the answer and what is behind its header.
func dialConnect(t *testing.T, address, head string) (line string, behind *bufio.Reader, conn net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, head)
	behind = bufio.NewReader(conn)
	line, _ = behind.ReadString('\n')
	for {
		if field, err := behind.ReadString('\n'); err != nil || field == "\r\n" {
			return strings.TrimSpace(line), behind, conn
		}
	}
}

// A client that uses the proxy for https calls a portal by its own name, as often as it
// wants, by HTTP/2 and by HTTP/1.1, with a key and without.
func TestConnect(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"", "shop=0123456789abcdef"} {
		for _, isHTTP2 := range []bool{true, false} {
			t.Run(fmt.Sprintf("keys %q, HTTP/2 %v", keys, isHTTP2), func(t *testing.T) {
				portal := serveTLS(t, true)
				dir := filepath.Join(t.TempDir(), "ca")
				p := launch(t, append(portal.settings, "CA_DIR="+dir, "CLIENT_KEYS="+keys)...)
				address, err := url.Parse(p.clients)
				if err != nil {
					t.Fatal(err)
				}
				if keys != "" {
					address.User = url.UserPassword("shop", "0123456789abcdef")
				}
				client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address), TLSClientConfig: &tls.Config{RootCAs: rootsOf(t, dir)}, ForceAttemptHTTP2: isHTTP2}}
				defer client.CloseIdleConnections()
				for range 20 {
					callWith(t.Context(), client, "POST", "https://"+acme+add, "{}").wantOK(t)
				}
				if n := portal.Ran("crm.deal.add"); n != 20 {
					t.Errorf("got %d runs, want 20", n)
				}
				eventually(t, "the calls are counted", func() bool { return p.metric("requests_total", `outcome="ok"`) == 20 })
				if n := p.metric("requests_total"); n != 20 {
					t.Errorf("got %v requests counted, want 20: opening a tunnel is not a call", n)
				}
				if n := p.metric("client_requests_total", `client="shop"`, `outcome="ok"`); keys != "" && n != 20 {
					t.Errorf("got %v requests of the client counted, want 20", n)
				}
				for _, c := range portal.Calls() {
					if c.Header.Get("Proxy-Authorization") != "" || c.Header.Get("Authorization") != "" {
						t.Errorf("the portal got %v, want no key", c.Header)
					}
				}
			})
		}
	}
}

const oauth = "oauth.bitrix.info"

// serveOAuth serves the host that hands out tokens, and returns the settings with which
// the program reaches it, and its certificate.
func serveOAuth(t *testing.T) (sim *b24sim.Portal, setting string, certificate *x509.Certificate) {
	t.Helper()
	own, _ := selfSigned(t, oauth)
	sim = b24sim.New(b24sim.Config{Seed: 7})
	server := httptest.NewUnstartedServer(sim)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return sim, oauth + "=" + server.Listener.Addr().String(), certificate
}

// A client refreshes its token through the proxy, which cannot see it: the client speaks
// TLS to the OAuth host itself, whether the proxy has a CA or not. Nothing of that is a
// call; the log has a line for each tunnel.
func TestTokenRefreshThroughATunnel(t *testing.T) {
	t.Parallel()
	for _, hasCA := range []bool{true, false} {
		t.Run(fmt.Sprintf("with a CA: %v", hasCA), func(t *testing.T) {
			sim, connectTo, certificate := serveOAuth(t)
			settings := []string{"CONNECT_TO=" + connectTo}
			if hasCA {
				settings = append(settings, "CA_DIR="+filepath.Join(t.TempDir(), "ca"))
			}
			p := launch(t, settings...)
			roots := x509.NewCertPool()
			roots.AddCert(certificate)
			address, err := url.Parse(p.clients)
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address), TLSClientConfig: &tls.Config{RootCAs: roots}}}
			a := callWith(t.Context(), client, "GET", "https://"+oauth+"/oauth/token/?grant_type=refresh_token&client_id=local.x&client_secret=s3cret&refresh_token=s3cret", "")
			if a.wantOK(t); !strings.Contains(string(a.body), "access_token") || sim.Arrived() != 1 {
				t.Errorf("got %v and %d requests at the OAuth host, want a token and one request", a, sim.Arrived())
			}
			client.CloseIdleConnections()
			eventually(t, "the end of the tunnel is logged", func() bool { return strings.Contains(p.logged(), "tunnel ended") })
			for line := range strings.Lines(p.logged()) {
				if strings.Contains(line, "tunnel ended") && (!strings.Contains(line, "host="+oauth+" client=none sent=") || !strings.Contains(line, "level=INFO")) {
					t.Errorf("got the line %s, want the host, the client and the bytes", line)
				}
			}
			if n := p.metric("requests_total"); n != 0 || strings.Contains(p.logged(), "s3cret") {
				t.Errorf("got %v requests counted and the log %s, want no request and no secret", n, p.logged())
			}
		})
	}
}

// echoes serves a host that reads until its client ends, then answers with that and a
// greeting, and ends.
func echoes(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go func() {
				defer conn.Close()
				io.WriteString(conn, "hello ")
				content, _ := io.ReadAll(conn)
				conn.Write(content)
			}()
		}
	}()
	return listener.Addr().String()
}

// Bytes pass a blind tunnel in both directions, unchanged: those that came before the
// answer to CONNECT too, and those after one side has ended.
func TestBlindTunnelCarriesAllBytes(t *testing.T) {
	t.Parallel()
	p := launch(t, "CONNECT_TO=tunnel.example.org="+echoes(t), "TUNNEL_HOSTS=*.example.org")
	many := strings.Repeat("0123456789abcdef", 1<<16)
	for name, c := range map[string]struct{ early, late string }{
		"the client sends nothing":          {"", ""},
		"early bytes alone":                 {"early", ""},
		"late bytes alone":                  {"", "late"},
		"more than fits into buffers":       {many[:1<<10], many},
		"more than fits, together with all": {many, ""},
	} {
		for _, proto := range []string{"HTTP/1.0", "HTTP/1.1"} {
			t.Run(name+" by "+proto, func(t *testing.T) {
				conn, err := net.Dial("tcp", strings.TrimPrefix(p.clients, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				go func() {
					io.WriteString(conn, "CONNECT tunnel.example.org:443 "+proto+"\r\n\r\n"+c.early)
					io.WriteString(conn, c.late)
					conn.(*net.TCPConn).CloseWrite()
				}()
				answer, err := io.ReadAll(conn)
				head, got, _ := strings.Cut(string(answer), "\r\n\r\n")
				if want := "hello " + c.early + c.late; !strings.HasPrefix(head, "HTTP/1.1 200 ") || got != want || err != nil {
					t.Errorf("got %s and %d bytes (%v), want 200 and %d", head, len(got), err, len(want))
				}
			})
		}
	}
}

// A host of tunnels that cannot be reached is answered with 503, and is not a portal.
func TestTunnelHostIsNotReachable(t *testing.T) {
	t.Parallel()
	p := launch(t, "CONNECT_TO="+oauth+"=127.0.0.1:1")
	line, behind, _ := dialConnect(t, p.clients, "CONNECT "+oauth+":443 HTTP/1.1\r\n\r\n")
	content, _ := io.ReadAll(behind)
	if line != "HTTP/1.1 503 PORTAL_UNREACHABLE" || !strings.Contains(string(content), oauth+" could not be reached: connection refused") {
		t.Errorf("got %s %s, want 503 and the reason", line, content)
	}
	none := launch(t, "TUNNEL_HOSTS=none")
	if line, _, _ := dialConnect(t, none.clients, "CONNECT "+oauth+":443 HTTP/1.1\r\n\r\n"); line != "HTTP/1.1 403 PORTAL_NOT_ALLOWED" {
		t.Errorf("without tunnels: got %s, want 403", line)
	}
}

// When the program stops, a tunnel whose host has answered ends soon, and one whose host
// has not ends after 8 tenths of the drain time. Both are the end that was ordered.
func TestStopWithTunnels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sent        string
		least, most time.Duration
	}{
		"the host has spoken last":   {"", 0, 5 * time.Second},
		"the client has spoken last": {"question", 8 * time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, "CONNECT_TO="+oauth+"="+echoes(t), "DRAIN_TIMEOUT=10s")
			line, behind, conn := dialConnect(t, p.clients, "CONNECT "+oauth+":443 HTTP/1.1\r\n\r\n")
			greeting := make([]byte, len("hello "))
			if _, err := io.ReadFull(behind, greeting); err != nil || line != "HTTP/1.1 200 Connection established" {
				t.Fatalf("got %s, %q (%v), want 200 and a greeting", line, greeting, err)
			}
			io.WriteString(conn, c.sent)
			began := time.Now()
			p.signal(syscall.SIGTERM)
			if code := p.wait(); code != 0 {
				t.Errorf("got exit code %d, want 0", code)
			}
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("it ended after %v, want %v to %v", took, c.least, c.most)
			}
			if !strings.Contains(p.logged(), "tunnel ended") {
				t.Errorf("got the log %s, want a line about the tunnel", p.logged())
			}
		})
	}
}

// A refused CONNECT has the code in its first line, without a CA and over HTTP/1.0 too.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	p := launch(t)
	for target, want := range map[string]string{
		"evil.example:443": "HTTP/1.1 403 PORTAL_NOT_ALLOWED", acme + ":80": "HTTP/1.1 403 PORTAL_NOT_ALLOWED", acme + ":443": "HTTP/1.1 501 CONNECT_NOT_ENABLED",
	} {
		for _, proto := range []string{"HTTP/1.0", "HTTP/1.1"} {
			line, behind, _ := dialConnect(t, p.clients, "CONNECT "+target+" "+proto+"\r\n\r\n")
			if content, err := io.ReadAll(behind); line != want || err != nil || !strings.Contains(string(content), strings.Fields(want)[2]) {
				t.Errorf("%s %s: got %s %s (%v), want %s", target, proto, line, content, err, want)
			}
		}
	}
}

// A client that uses the proxy for https, but sends it the whole address in place of
// CONNECT, is served without a certificate.
func TestAbsoluteFormForHTTPS(t *testing.T) {
	t.Parallel()
	portal := serveTLS(t, true)
	p := launch(t, portal.settings...)
	for _, proto := range []string{"HTTP/1.0", "HTTP/1.1"} {
		answer := exchangeRaw(t, p.clients, "GET https://"+acme+hook+"/user.current "+proto+"\r\nHost: "+acme+"\r\nConnection: close\r\n\r\n")
		if !strings.Contains(answer, " 200 OK\r\n") {
			t.Errorf("%s: got %s, want 200", proto, answer)
		}
	}
	if n := portal.Ran("user.current"); n != 2 {
		t.Errorf("got %d runs, want 2", n)
	}
}

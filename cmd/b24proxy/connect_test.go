package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// selfSigned makes a certificate for a host and a PEM file that holds it.
func selfSigned(t *testing.T, host string) (c tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: host},
		DNSNames:              []string{host},
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

const acme = "acme.bitrix24.com"

// A tlsPortal is a simulated portal that is reached as a real one is: over TLS
// and by its name.
type tlsPortal struct {
	*b24sim.Portal
	connections atomic.Int64
	settings    []string     // with them the program reaches it
	wrong       atomic.Value // a request with another name or protocol than expected
}

func serveTLS(t *testing.T, http2 bool) *tlsPortal {
	t.Helper()
	certificate, roots := selfSigned(t, acme)
	p := &tlsPortal{Portal: b24sim.New(b24sim.Config{Seed: 7})}
	proto := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != acme || r.TLS.ServerName != acme || r.Proto != proto {
			p.wrong.Store(r.Proto + " to Host " + r.Host + ", SNI " + r.TLS.ServerName)
		}
		p.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = http2
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			p.connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	p.settings = []string{"CONNECT_TO=*.bitrix24.com=" + server.Listener.Addr().String(), "UPSTREAM_CA_FILE=" + roots, "PLAN=unlimited"}
	return p
}

// A portal that CONNECT_TO reaches at another address keeps its name in the
// certificate, SNI and Host. The proxy reuses connections, and uses HTTP/2 if
// the portal speaks it.
func TestTLSPortal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		http2 bool
	}{{"the portal speaks HTTP/1.1", false}, {"the portal speaks HTTP/2", true}} {
		t.Run(c.name, func(t *testing.T) {
			portal := serveTLS(t, c.http2)
			p := launch(t, portal.settings...)
			for range 30 {
				call(t, "POST", p.clients+add, "{}", "B24-Portal", acme).wantOK(t)
			}
			if n := portal.connections.Load(); n != 1 {
				t.Errorf("30 calls one after the other: got %d connections, want 1", n)
			}
			for _, a := range <-together(100, func(int) answer { return call(t, "POST", p.clients+add, "{}", "B24-Portal", acme) }) {
				a.wantOK(t)
			}
			if n := portal.connections.Load(); c.http2 && n > 5 {
				t.Errorf("100 calls at once over HTTP/2: got %d connections, want at most 5", n)
			}
			if portal.Ran("crm.deal.add") != 130 || portal.wrong.Load() != nil {
				t.Errorf("got %d runs and the wrong request %v, want 130 and none", portal.Ran("crm.deal.add"), portal.wrong.Load())
			}
		})
	}
}

// When the proxy does not trust the certificate of a portal, it sends nothing,
// and the answer says so.
func TestUntrustedPortal(t *testing.T) {
	t.Parallel()
	portal := serveTLS(t, true)
	p := launch(t, portal.settings[0])
	a := call(t, "POST", p.clients+add, "{}", "B24-Portal", acme)
	if read := a.json(t); a.status != 503 || read.Error != "PORTAL_UNREACHABLE" || read.Proxy.Executed != "no" || !strings.Contains(read.ErrorDescription, "certificate") {
		t.Errorf("got %v, want 503 PORTAL_UNREACHABLE, executed no, with a word about the certificate", a)
	}
	if n := portal.Arrived(); n != 0 {
		t.Errorf("got %d calls at the portal, want none", n)
	}
}

// Each way to name a portal reaches it with the same address, byte for byte. A
// host that is not on the list is not called.
func TestWaysToNameAPortal(t *testing.T) {
	t.Parallel()
	portal := serveTLS(t, true)
	p := launch(t, portal.settings...)
	own, err := url.Parse(p.clients)
	if err != nil {
		t.Fatal(err)
	}
	forward := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(own)}}
	defer forward.CloseIdleConnections()

	const rest = "/rest/1/hookcode0123456/crm.deal.list.json?filter[%3EID]=1&x=b;c&start=%35"
	for name, send := range map[string]func(host string) answer{
		"an absolute request target": func(host string) answer {
			return callWith(t.Context(), forward, "POST", "http://"+host+rest, "start=0", "Content-Type", "application/x-www-form-urlencoded")
		},
		"the header B24-Portal":  func(host string) answer { return call(t, "POST", p.clients+rest, "start=0", "B24-Portal", host) },
		"the first path segment": func(host string) answer { return call(t, "POST", p.clients+"/"+host+rest, "start=0") },
		"the header Host":        func(host string) answer { return call(t, "POST", p.clients+rest, "start=0", "Host", host) },
	} {
		t.Run(name+" names the portal", func(t *testing.T) {
			portal.Reset()
			for _, host := range []string{acme, "ACME.bitrix24.com:443"} {
				send(host).wantOK(t)
			}
			for _, host := range []string{"acme.bitrix24.com.evil.example", "acme.bitrix24.com:8443"} {
				if a := send(host); a.status != 403 || a.json(t).Error != "PORTAL_NOT_ALLOWED" {
					t.Errorf("%s: got %v, want 403 PORTAL_NOT_ALLOWED", host, a)
				}
			}
			calls := portal.Calls()
			if len(calls) != 2 {
				t.Errorf("got %d calls at the portal, want 2", len(calls))
			}
			for _, c := range calls {
				if got := c.Path + "?" + c.Query; got != rest || string(c.Body) != "start=0" || c.Verb != "POST" {
					t.Errorf("the portal got %s %s %q, want POST %s \"start=0\"", c.Verb, got, c.Body, rest)
				}
			}
		})
	}
	if wrong := portal.wrong.Load(); wrong != nil {
		t.Errorf("the portal got %v, want its own name and HTTP/2", wrong)
	}
	if a := call(t, "POST", p.clients+rest, ""); a.status != 400 || a.json(t).Error != "PORTAL_NOT_NAMED" {
		t.Errorf("a request that names no portal: got %v, want 400 PORTAL_NOT_NAMED", a)
	}
}

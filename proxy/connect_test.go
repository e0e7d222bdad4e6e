package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// connect sends the head of a CONNECT over a connection and reads the answer, whose
// body is left unread.
func connect(t *testing.T, conn net.Conn, head string) (*http.Response, *bufio.Reader) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, head)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatalf("%q: got %v, want an answer", head, err)
	}
	return resp, reader
}

// overTLS begins TLS on a connection, under the name of acme.
func (s *secure) overTLS(conn net.Conn, protocols ...string) *tls.Conn {
	return tls.Client(conn, &tls.Config{RootCAs: s.roots, ServerName: "acme.bitrix24.com", NextProtos: protocols})
}

// end stops the proxy. All that has happened is counted then.
func (s *secure) end(t *testing.T) {
	t.Helper()
	s.stop(nil)
	if err := <-s.ended; err != nil {
		t.Errorf("got %v, want all calls to have their answers", err)
	}
}

// A joined sends the head of a CONNECT together with the first bytes of the tunnel, and
// reads the answer before the first bytes that come back.
type joined struct {
	net.Conn
	t    *testing.T
	head string
	from *bufio.Reader
}

func (c *joined) Write(p []byte) (int, error) {
	if c.head == "" {
		return c.Conn.Write(p)
	}
	resp, from := connect(c.t, c.Conn, c.head+string(p))
	if resp.StatusCode != http.StatusOK {
		c.t.Errorf("got %s, want 200", resp.Status)
	}
	c.head, c.from = "", from
	return len(p), nil
}

func (c *joined) Read(p []byte) (int, error) { return c.from.Read(p) }

const (
	connectHead = "CONNECT acme.bitrix24.com:443 HTTP/1.1\r\nHost: acme.bitrix24.com:443\r\n\r\n"
	innerCall   = "POST /rest/1/hookcode/crm.deal.list HTTP/1.1\r\nHost: acme.bitrix24.com\r\nContent-Length: 2\r\n\r\n{}"
)

// A tunnel to a portal ends here. It carries one call after the other, however the
// client writes its CONNECT, and on both listeners. Opening it is not a call.
func TestConnectToAPortal(t *testing.T) {
	for name, head := range map[string]string{
		"HTTP/1.1":                           connectHead,
		"HTTP/1.0":                           "CONNECT acme.bitrix24.com:443 HTTP/1.0\r\n\r\n",
		"HTTP/1.0 with headers":              "CONNECT acme.bitrix24.com:443 HTTP/1.0\r\nHost: acme.bitrix24.com\r\nUser-Agent: x\r\nProxy-Connection: Keep-Alive\r\n\r\n",
		"HTTP/1.1 without Host":              "CONNECT acme.bitrix24.com:443 HTTP/1.1\r\n\r\n",
		"the length of no content":           strings.Replace(connectHead, "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1),
		"other letters and a dot":            "CONNECT ACME.bitrix24.com.:443 HTTP/1.1\r\nHost: acme.bitrix24.com:443\r\n\r\n",
		"another Host, which does not count": "CONNECT acme.bitrix24.com:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	} {
		for _, isTLS := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " over TLS", false: ""}[isTLS], func(t *testing.T) {
				portal := &recordingPortal{}
				s := serveTLS(t, portal, nil)
				conn := must(net.Dial("tcp", map[bool]string{true: s.tls, false: s.clients}[isTLS]))
				defer conn.Close()
				if isTLS {
					conn = tls.Client(conn, &tls.Config{RootCAs: s.roots, ServerName: "localhost"})
				}
				secured := s.overTLS(&joined{Conn: conn, t: t, head: head})
				for range 3 {
					io.WriteString(secured, innerCall)
					resp, err := http.ReadResponse(bufio.NewReader(secured), nil)
					if err != nil {
						t.Fatal(err)
					}
					if content := must(io.ReadAll(resp.Body)); resp.StatusCode != http.StatusOK {
						t.Errorf("got %d %s, want 200", resp.StatusCode, content)
					}
				}
				if got, want := strings.Count(portal.arrived(), "POST /rest/1/hookcode/crm.deal.list {}"), 3; got != want {
					t.Errorf("the portal got %s, want the call %d times", portal.arrived(), want)
				}
				s.end(t)
				if n := s.p.metric(`b24proxy_requests_total{outcome="ok",portal="acme.bitrix24.com",status_class="2xx"}`); n != 3 {
					t.Errorf("got %v calls counted, want 3", n)
				}
				if n := s.p.metric(`b24proxy_requests_total{outcome="ok",portal="none",status_class="2xx"}`); n != 0 {
					t.Errorf("got %v calls counted without a portal, want none", n)
				}
			})
		}
	}
}

// HTTP/2 and HTTP/1.1 are spoken in a tunnel, as a client of the standard library does
// it. The route of each call is by its Host.
func TestCallsInATunnel(t *testing.T) {
	for _, isHTTP2 := range []bool{true, false} {
		t.Run(map[bool]string{true: "HTTP/2", false: "HTTP/1.1"}[isHTTP2], func(t *testing.T) {
			s := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Portal", r.Host)
				good(w, r)
			}), nil)
			transport := &http.Transport{
				Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: s.clients}),
				TLSClientConfig:   &tls.Config{RootCAs: s.roots},
				ForceAttemptHTTP2: isHTTP2,
			}
			defer transport.CloseIdleConnections()
			for host, want := range map[string]int{"acme.bitrix24.com": 200, "other.bitrix24.com": 200, "evil.example": 403} {
				r := must(http.NewRequest(http.MethodPost, "https://acme.bitrix24.com/rest/1/hookcode/crm.deal.list", strings.NewReader("{}")))
				r.Host = host
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if portal := resp.Header.Get("X-Portal"); resp.StatusCode != want || want == 200 && portal != host || (resp.ProtoMajor == 2) != isHTTP2 {
					t.Errorf("%s: got %s %d from %q, want %d", host, resp.Proto, resp.StatusCode, portal, want)
				}
			}
		})
	}
}

// A client without SNI gets the certificate of the host that it asked for.
func TestTunnelWithoutServerName(t *testing.T) {
	s := serveTLS(t, good, func(c *Config) { c.Certificate = oneCertificate{must(c.CA.Certificate("localhost"))} })
	conn := must(net.Dial("tcp", s.clients))
	defer conn.Close()
	secured := tls.Client(&joined{Conn: conn, t: t, head: connectHead}, &tls.Config{InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := secured.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "acme.bitrix24.com" {
		t.Errorf("got a certificate for %s, want acme.bitrix24.com", got)
	}
}

// What CONNECT may not do is refused, with the code in the first line of the answer too,
// and the connection ends.
func TestConnectRefused(t *testing.T) {
	const (
		forbidden = "403 PORTAL_NOT_ALLOWED"
		disabled  = "501 CONNECT_NOT_ENABLED"
		unclear   = "400 REQUEST_NOT_READ"
	)
	s := serveTLS(t, nil, func(c *Config) {
		c.Upstream = mustURL("http://box.example.org:8080")
		for _, host := range []string{"crm.example.org:8443", "unsigned.example.org", "10.0.0.5"} {
			c.Portals = append(c.Portals, must(ParseHostPattern(host)))
		}
	})
	bare := newProxy(t, nil).serve(t, time.Second)
	for name, c := range map[string]struct {
		address, target, headers, status string
	}{
		"a host that is not allowed":             {s.clients, "evil.example:443", "", forbidden},
		"a look-alike":                           {s.clients, "acme.bitrix24.com.evil.example:443", "", forbidden},
		"the zone itself":                        {s.clients, "bitrix24.com:443", "", forbidden},
		"another port":                           {s.clients, "acme.bitrix24.com:80", "", forbidden},
		"no port":                                {s.clients, "acme.bitrix24.com", "", forbidden},
		"a port with a zero":                     {s.clients, "acme.bitrix24.com:0443", "", forbidden},
		"a port of the list":                     {s.clients, "crm.example.org:8443", "", forbidden},
		"the host of such a port":                {s.clients, "crm.example.org:443", "", forbidden},
		"the upstream, which has another port":   {s.clients, "box.example.org:443", "", forbidden},
		"userinfo":                               {s.clients, "user:s3cret@acme.bitrix24.com:443", "", forbidden},
		"an IPv6 address":                        {s.clients, "[::1]:443", "", forbidden},
		"the proxy":                              {s.clients, "127.0.0.1:443", "", forbidden},
		"a path":                                 {s.clients, "/acme.bitrix24.com:443", "", forbidden},
		"a host that the CA does not sign for":   {s.clients, "unsigned.example.org:443", "", disabled},
		"an address":                             {s.clients, "10.0.0.5:443", "", disabled},
		"a length":                               {s.clients, "acme.bitrix24.com:443", "Content-Length: 2\r\n", unclear},
		"chunks":                                 {s.clients, "acme.bitrix24.com:443", "Transfer-Encoding: chunked\r\n", unclear},
		"without a CA":                           {strings.TrimPrefix(bare.clients, "http://"), "acme.bitrix24.com:443", "", disabled},
		"without a CA, a host that is forbidden": {strings.TrimPrefix(bare.clients, "http://"), "evil.example:443", "", forbidden},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
			t.Run(name+" by "+proto, func(t *testing.T) {
				conn := must(net.Dial("tcp", c.address))
				defer conn.Close()
				resp, reader := connect(t, conn, "CONNECT "+c.target+" "+proto+"\r\nHost: x\r\nX-Request-Id: r1\r\n"+c.headers+"\r\n")
				content := must(io.ReadAll(reader))
				var e shownError
				if err := json.Unmarshal(content, &e); err != nil {
					t.Fatalf("%s: %v", content, err)
				}
				if _, code, _ := strings.Cut(c.status, " "); resp.Status != c.status || e.Error != code || e.Proxy.RequestID != "r1" || e.Proxy.Executed != "no" || e.Proxy.Retryable {
					t.Errorf("got %s and %+v, want %s in both, and not executed", resp.Status, e, c.status)
				}
				if h := resp.Header; h.Get("X-Request-Id") != "r1" || h.Get("B24-Error-Source") != "proxy" || !resp.Close || resp.ContentLength != int64(len(content)) || h.Get("Date") == "" {
					t.Errorf("got the header %v, want those of an error, and the end of the connection", h)
				}
				if strings.Contains(string(content), "s3cret") {
					t.Errorf("got %s, want no userinfo", content)
				}
			})
		}
	}
	s.end(t)
	if n := s.p.metric(`b24proxy_requests_total{outcome="rejected",portal="none",status_class="4xx"}`); n == 0 {
		t.Error("got no refused CONNECT counted, want them")
	}
}

// The first line says why, too, where net/http itself cannot read the CONNECT.
func TestConnectNotRead(t *testing.T) {
	s := serveTLS(t, nil, nil)
	for what, c := range map[string]struct{ request, status string }{
		"a port that is a word":    {"CONNECT acme.bitrix24.com:https HTTP/1.1\r\nHost: x\r\n\r\n", "400 REQUEST_NOT_READ"},
		"another version":          {"CONNECT acme.bitrix24.com:443 HTTP/3.0\r\nHost: x\r\n\r\n", "505 REQUEST_NOT_READ"},
		"a header that is too big": {"CONNECT acme.bitrix24.com:443 HTTP/1.1\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", "431 REQUEST_TOO_LARGE"},
	} {
		t.Run(what, func(t *testing.T) {
			conn := must(net.Dial("tcp", s.clients))
			defer conn.Close()
			if resp, _ := connect(t, conn, c.request); resp.Status != c.status {
				t.Errorf("got %s, want %s", resp.Status, c.status)
			}
		})
	}
}

// CONNECT has no place within a tunnel, nor in HTTP/2, which could carry it.
func TestConnectWhereItCannotBe(t *testing.T) {
	s := serveTLS(t, nil, nil)
	conn := must(net.Dial("tcp", s.clients))
	defer conn.Close()
	resp, _ := connect(t, s.overTLS(&joined{Conn: conn, t: t, head: connectHead}), connectHead)
	if resp.Status != "403 PORTAL_NOT_ALLOWED" {
		t.Errorf("within a tunnel: got %s, want 403", resp.Status)
	}
	open, end := io.Pipe() // the stream of a CONNECT does not end
	defer end.Close()
	r := must(http.NewRequest(http.MethodConnect, "https://acme.bitrix24.com:443", open))
	resp, err := s.client(t, true, "").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if content := must(io.ReadAll(resp.Body)); resp.StatusCode != http.StatusNotImplemented || !bytes.Contains(content, []byte("HTTP/1.1")) {
		t.Errorf("over HTTP/2: got %d %s, want 501 with a word about HTTP/1.1", resp.StatusCode, content)
	}
}

// The key of a CONNECT is that of all calls in its tunnel.
func TestKeyOfATunnel(t *testing.T) {
	var log lockedBuffer
	portal := &recordingPortal{}
	s := serveTLS(t, portal, func(c *Config) { withKeys(c); c.Log = debugLog(&log) })
	for key, want := range map[string]string{"": "407 CLIENT_NOT_ALLOWED", basic("shop:s3cret-key-0123456"): "407 CLIENT_NOT_ALLOWED", basic("shop:" + shopKey): "200 Connection established"} {
		conn := must(net.Dial("tcp", s.clients))
		defer conn.Close()
		head := strings.Replace(connectHead, "\r\n\r\n", "\r\nProxy-Authorization: "+key+"\r\n\r\n", 1)
		resp, _ := connect(t, conn, head)
		if resp.Status != want || (resp.Header.Get("Proxy-Authenticate") == "") != (resp.StatusCode == http.StatusOK) {
			t.Errorf("got %s with %v, want %s", resp.Status, resp.Header, want)
		}
		if resp.StatusCode != http.StatusOK {
			continue
		}
		secured := s.overTLS(conn)
		io.WriteString(secured, innerCall)
		if resp := must(http.ReadResponse(bufio.NewReader(secured), nil)); resp.StatusCode != http.StatusOK {
			t.Errorf("in the tunnel: got %s, want 200 without another key", resp.Status)
		}
	}
	s.end(t)
	if n := s.p.metric(`b24proxy_client_requests_total{client="shop",outcome="ok"}`); n != 1 {
		t.Errorf("got %v calls of shop, want 1", n)
	}
	if shown := log.String() + portal.arrived(); strings.Contains(shown, shopKey) || strings.Contains(shown, basic("shop:" + shopKey)[6:]) {
		t.Errorf("got the key in %s", shown)
	}
}

// A proxy that drains opens no tunnel, and those that are idle end at once.
func TestShutdownWithTunnels(t *testing.T) {
	for _, isHTTP2 := range []bool{false, true} {
		s := serveTLS(t, good, nil)
		client := &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: s.clients}), TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: isHTTP2,
		}}
		resp, err := client.Get("https://acme.bitrix24.com/rest/x")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		began := time.Now()
		s.end(t)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("HTTP/2 is %v: it ended after %v, want no wait", isHTTP2, took)
		}
	}
}

// A CONNECT that comes while the proxy drains is refused, and may be repeated.
func TestConnectWhileDraining(t *testing.T) {
	c := &connector{router: newRouter(CloudPortals(), nil), ca: oneCertificate{}}
	r := must(http.NewRequestWithContext(context.Background(), http.MethodConnect, "", nil))
	r.RequestURI = "acme.bitrix24.com:443"
	if _, failed := c.connect(r, false); failed == nil || failed.status != 503 || failed.retryAfter == 0 {
		t.Errorf("got %v, want 503 with Retry-After", failed)
	}
}

// A blind tunnel leads to the host through the outbound proxy, if there is one, and has
// all that comes behind that proxy's answer.
func TestBlindTunnelThroughTheOutboundProxy(t *testing.T) {
	for _, isTLS := range []bool{false, true} {
		for name, c := range map[string]struct {
			answer, status, says string
		}{
			"it answers, and the host speaks first": {"HTTP/1.1 200 OK\r\n\r\nhello", "200 Connection established", "hello"},
			"it asks for a password":                {"HTTP/1.1 407 No\r\nContent-Length: 6\r\n\r\ns3cret", "503 PORTAL_UNREACHABLE", "asks for a user and password"},
			"it refuses":                            {"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\ns3cret", "503 PORTAL_UNREACHABLE", "refused with status 403"},
			"it does not speak HTTP":                {"s3cret\r\n\r\n", "503 PORTAL_UNREACHABLE", "outbound proxy (B24PROXY_OUTBOUND_PROXY): "},
			"it ends":                               {"", "503 PORTAL_UNREACHABLE", "outbound proxy (B24PROXY_OUTBOUND_PROXY): connection closed"},
		} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, isTLS), func(t *testing.T) {
				asked := make(chan string, 1)
				outbound := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked <- r.Method + " " + r.RequestURI + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
					conn, _, _ := http.NewResponseController(w).Hijack()
					io.WriteString(conn, c.answer)
					conn.Close()
				}))
				if isTLS {
					outbound.StartTLS()
				} else {
					outbound.Start()
				}
				defer outbound.Close()
				var log lockedBuffer
				s := serveTLS(t, nil, func(config *Config) {
					config.TunnelHosts = patterns("oauth.bitrix.info")
					config.OutboundProxy = mustURL(strings.Replace(outbound.URL, "://", "://user:s3cret@", 1))
					config.Log = debugLog(&log)
					if isTLS {
						config.Roots = x509.NewCertPool()
						config.Roots.AddCert(outbound.Certificate())
					}
				})
				conn := must(net.Dial("tcp", s.clients))
				defer conn.Close()
				resp, from := connect(t, conn, "CONNECT oauth.bitrix.info:443 HTTP/1.0\r\n\r\n")
				content := string(must(io.ReadAll(from)))
				if resp.Status != c.status || !strings.Contains(content, c.says) {
					t.Errorf("got %s %s, want %s with %q", resp.Status, content, c.status, c.says)
				}
				if resp.StatusCode != http.StatusOK && resp.Header.Get("Retry-After") == "" {
					t.Error("got no Retry-After, want one")
				}
				if got, want := <-asked, "CONNECT oauth.bitrix.info:443 oauth.bitrix.info:443 "+basic("user:s3cret"); got != want {
					t.Errorf("the outbound proxy got %q, want %q", got, want)
				}
				s.end(t)
				if strings.Contains(content+log.String(), "s3cret") {
					t.Errorf("got a secret in %s or in the log %s", content, &log)
				}
			})
		}
	}
}

// A blind tunnel leads to an address that is not public only by B24PROXY_CONNECT_TO.
func TestBlindTunnelToAPrivateAddress(t *testing.T) {
	resolveToLoopback(t)
	for _, isNamed := range []bool{true, false} {
		s := serveTLS(t, nil, func(c *Config) {
			c.TunnelHosts = patterns("oauth.bitrix.info")
			if isNamed {
				c.ConnectTo = HostMap[string]{{patterns("oauth.bitrix.info")[0], "127.0.0.1:1"}}
			}
		})
		conn := must(net.Dial("tcp", s.clients))
		defer conn.Close()
		resp, from := connect(t, conn, "CONNECT oauth.bitrix.info:443 HTTP/1.1\r\n\r\n")
		content := string(must(io.ReadAll(from)))
		if resp.Status != "503 PORTAL_UNREACHABLE" || strings.Contains(content, errNotPublic.Error()) == isNamed {
			t.Errorf("named in CONNECT_TO: %v: got %s %s, want 503", isNamed, resp.Status, content)
		}
	}
}

// Beyond the bound of blind tunnels CONNECT is refused, and may be repeated.
func TestTooManyTunnels(t *testing.T) {
	s := serveTLS(t, nil, func(c *Config) { c.TunnelHosts = patterns("oauth.bitrix.info") })
	for {
		_, err := s.p.tunnels.Open(func(context.Context) (net.Conn, error) { near, _ := net.Pipe(); return near, nil })
		if err != nil {
			break
		}
	}
	conn := must(net.Dial("tcp", s.clients))
	defer conn.Close()
	if resp, _ := connect(t, conn, "CONNECT oauth.bitrix.info:443 HTTP/1.1\r\n\r\n"); resp.Status != "503 QUERY_LIMIT_EXCEEDED" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s %v, want 503 with Retry-After", resp.Status, resp.Header)
	}
}

// FuzzConnect sends any target by CONNECT. It never leads elsewhere than to a host that is
// allowed, whose name it gives but for the case and a dot, on port 443.
func FuzzConnect(f *testing.F) {
	for _, seed := range []string{
		"acme.bitrix24.com:443", "ACME.bitrix24.com.:443", "oauth.bitrix.info:443", "box.example.org:443", "box.example.org:8443", "10.0.0.5:443",
		"acme.bitrix24.com", "acme.bitrix24.com:0443", "acme.bitrix24.com:443:443", "user:pass@acme.bitrix24.com:443", "[::1]:443", "[acme.bitrix24.com]:443",
		"evil.example:443", "acme.bitrix24.com.evil.example:443", "evil.example#.bitrix24.com:443", "acme.bitrix24.com:443/", "http://acme.bitrix24.com:443",
		"\u212aacme.bitrix24.com:443", "acme.bitrix24.com%00:443", "acme.bitrix24.com\x00:443", " acme.bitrix24.com:443", ".bitrix24.com:443", "*.bitrix24.com:443", ":443", "",
	} {
		f.Add(seed)
	}
	portals := append(CloudPortals(), patterns("box.example.org", "crm.example.org:8443", "10.0.0.5")...)
	c := &connector{router: newRouter(portals, mustURL("http://upstream.example.org")), hosts: patterns("oauth.bitrix.info", "*.tunnel.example")}
	portals = append(portals, patterns("upstream.example.org")...)
	f.Fuzz(func(t *testing.T, target string) {
		host, isBlind, failed := c.target(target)
		if failed != nil {
			if failed.status != http.StatusForbidden || host != "" || strings.Contains(failed.description, "@") {
				t.Fatalf("%q: got %q and %v, want 403 alone", target, host, failed)
			}
			return
		}
		name, isOn443 := strings.CutSuffix(target, ":443")
		if !isOn443 || strings.TrimSuffix(strings.ToLower(name), ".") != host {
			t.Fatalf("%q: got %q, want that host on port 443", target, host)
		}
		if allowed := map[bool][]HostPattern{true: c.hosts, false: portals}[isBlind]; !slices.ContainsFunc(allowed, func(p HostPattern) bool {
			return p.String() == host || p.wildcard && strings.HasSuffix(host, strings.TrimPrefix(p.String(), "*"))
		}) {
			t.Fatalf("%q: got %q, which is not allowed", target, host)
		}
	})
}

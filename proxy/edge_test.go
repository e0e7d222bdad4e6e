package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// beforePortal is a proxy in front of a portal on a loopback port.
func beforePortal(t *testing.T, h http.Handler, edit func(*Config)) *Proxy {
	t.Helper()
	portal := httptest.NewServer(h)
	t.Cleanup(portal.Close)
	return newProxy(t, func(c *Config) {
		c.Upstream = mustURL(portal.URL)
		if edit != nil {
			edit(c)
		}
	})
}

var good = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"result":1}`) })

// A caller who closes his half of the connection does not read an empty success.
func TestHalfClosed(t *testing.T) {
	arrived, answer := make(chan bool), make(chan bool)
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { arrived <- true; <-answer }), nil)
	server := httptest.NewServer(p)
	defer server.Close()
	defer close(answer)
	c := must(net.Dial("tcp", server.Listener.Addr().String()))
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx", deal)
	<-arrived
	c.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("got %q, want nothing", got)
	}
}

// The redirect of a renamed portal does not reach the caller if the new address has no
// slot for the call.
func TestRenamedWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived []string
		p := newProxy(t, nil).behind(renaming(t, map[string]string{"acme.bitrix24.com": "https://b.bitrix24.com"}, 302, &arrived))
		for range 49 {
			must(p.limiter.Acquire(t.Context(), limiter.Request{Upstream: "b.bitrix24.com"})).Answered(limiter.Accepted)
		}
		w := p.call("POST", deal, "", "Prefer", "wait=0")
		if e := errorOf(t, w); w.Code != 503 || e.Proxy.Reason != "queue_wait" || e.Proxy.Executed != "no" {
			t.Errorf("got %d %+v, want 503 with the reason queue_wait, executed no", w.Code, e)
		}
	})
}

// A call that was lost once, and refused when it was sent again, may have run.
func TestLostThenRefused(t *testing.T) {
	sent := 0
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent++; sent == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
	}))
	w := p.call("POST", "/rest/api/tasks.task.add", "{}", "Idempotency-Key", "k", "Prefer", "wait=0")
	if e := errorOf(t, w); sent != 2 || e.Proxy.Executed != "unknown" {
		t.Errorf("got %+v after %d requests, want executed unknown after 2", e, sent)
	}
}

// An empty body has a known length.
func TestEmptyBody(t *testing.T) {
	var got *http.Request
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r; io.WriteString(w, `{"result":1}`) }), nil)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		p.call(method, deal, "")
		if got.ContentLength != 0 || got.TransferEncoding != nil {
			t.Errorf("%s: got the length %d and %v, want 0 and no encoding", method, got.ContentLength, got.TransferEncoding)
		}
	}
}

// A write that was lost through an outbound proxy with TLS may have run.
func TestLostThroughAnHTTPSProxy(t *testing.T) {
	ran := 0
	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		ran++
		panic(http.ErrAbortHandler)
	}))
	defer portal.Close()
	via := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := must(net.Dial("tcp", portal.Listener.Addr().String()))
		c, rw, _ := http.NewResponseController(w).Hijack()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(up, rw); up.Close() }()
		io.Copy(c, up)
		c.Close()
	}))
	defer via.Close()
	roots := x509.NewCertPool()
	roots.AddCert(portal.Certificate())
	roots.AddCert(via.Certificate())
	p := newProxy(t, func(c *Config) {
		c.Upstream, c.OutboundProxy, c.Roots = mustURL("https://example.com"), mustURL(via.URL), roots
	})
	w := p.call("POST", deal, "x")
	if e := errorOf(t, w); ran != 1 || w.Code != 500 || e.Proxy.Executed != "unknown" {
		t.Errorf("got %d %+v after it ran %d times, want 500, executed unknown, after one", w.Code, e, ran)
	}
}

// The record with which TLS closes a connection is not part of a request; anything longer is.
func TestClosingRecordIsNotSent(t *testing.T) {
	for _, c := range []struct {
		written int64
		tls     bool
		sent    bool
	}{{0, false, false}, {1, false, true}, {0, true, false}, {24, true, false}, {31, true, false}, {32, true, true}, {115, true, true}} {
		const before = 5000 // by other requests
		s := &connTrace{times: 1, conn: new(countingConn), tls: c.tls, written: before}
		s.began.Store(true)
		s.conn.written.Add(before + c.written)
		if got := s.sent(); got != c.sent {
			t.Errorf("%d bytes, TLS %v: got sent %v, want %v", c.written, c.tls, got, c.sent)
		}
	}
}

// A portal that switches protocols although nobody asked does not hold a call forever.
func TestSwitchedProtocols(t *testing.T) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		}
	}()
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL("http://" + listener.Addr().String()) })
	if w := p.call("POST", deal, "x"); w.Code != 500 || errorOf(t, w).Proxy.Reason != "reset" {
		t.Errorf("got %d %s, want 500 with the reason reset", w.Code, w.Body)
	}
}

// A write is not sent if its caller left while the connection was made.
func TestLeftDuringTheDial(t *testing.T) {
	sim := simulate(t)
	p := beforePortal(t, sim, nil)
	base := p.reverse.Transport.(*transport).sender.base.(*http.Transport)
	dial := base.DialContext
	ctx, leave := context.WithCancel(t.Context())
	dialed := make(chan bool)
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		leave()
		defer close(dialed)
		return dial(context.WithoutCancel(ctx), network, addr)
	}
	p.callContext(ctx, "POST", deal, "x")
	<-dialed
	for n := 0; ; n++ { // the slot comes back
		if s, _ := p.limiter.State(strings.TrimPrefix(p.config.Upstream.String(), "http://")); s.Level == 0 {
			break
		}
		if n > 10_000_000 {
			t.Fatal("got no slot back, want it given back")
		}
	}
	if n := sim.Arrived(); n != 0 {
		t.Errorf("got %d requests, want none", n)
	}
}

// A portal that begins an answer and then is silent did not answer in time.
func TestSilenceInAnAnswer(t *testing.T) {
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"resu`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), func(c *Config) { c.UpstreamTimeout = 100 * time.Millisecond })
	if e := errorOf(t, p.call("POST", deal, "x")); e.Proxy.Reason != "timeout" {
		t.Errorf("got %+v, want the reason timeout", e)
	}
}

// No room for a body is not a fault of the client.
func TestNoRoomForABody(t *testing.T) {
	t.Setenv("TMPDIR", "/nonexistent")
	w := newProxy(t, nil).behind(good).call("POST", deal, strings.Repeat("x", 300<<10))
	if e := errorOf(t, w); w.Code != 503 || e.Error != "REQUEST_NOT_KEPT" || !e.Proxy.Retryable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %+v, want 503 REQUEST_NOT_KEPT, retryable, with Retry-After", w.Code, e)
	}
}

// The proxy does not guess a media type that the portal does not name.
func TestNoContentType(t *testing.T) {
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, `{"result":1}`)
	}), nil)
	server := httptest.NewServer(p)
	defer server.Close()
	resp := must(http.Post(server.URL+deal, "", nil))
	resp.Body.Close()
	if got := resp.Header.Values("Content-Type"); len(got) > 0 {
		t.Errorf("got the Content-Type %q, want none", got)
	}
}

// Half an answer that ends with the connection, and so looks whole, is cut off for the
// caller too.
func TestHalfAnAnswerWithoutALength(t *testing.T) {
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"result\":[\"")
		c.Write(bytes.Repeat([]byte("x"), 1<<20))
		c.Close()
	}), nil)
	server := httptest.NewServer(p)
	defer server.Close()
	resp := must(http.Post(server.URL+deal, "", nil))
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("got %d bytes and no error, want an error", n)
	}
}

// A status of 5xx is never a success, whatever the body is.
func TestResultAt502IsAnError(t *testing.T) {
	for _, body := range []string{`{"result":true,"time":{}}`, `{"error":"","error_description":"z"}`} {
		w := newProxy(t, nil).behind(fixed(502, "application/json", []byte(body))).call("POST", deal, "")
		if e := errorOf(t, w); w.Code != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.PortalStatus != 502 {
			t.Errorf("%s: got %d %+v, want 500 ERROR_UNEXPECTED_ANSWER with the portal's status", body, w.Code, e)
		}
	}
}

// What a request has in the place of a portal's name is not repeated, since it may be a secret.
func TestNamesAreNotRepeated(t *testing.T) {
	var log bytes.Buffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(good)
	for _, name := range []string{"S3CRETcode", "user:S3CRET@evil.example", "https://acme.bitrix24.com/rest/1/S3CRET/"} {
		w := p.call("POST", deal, "", "B24-Portal", name)
		if all := strings.ToUpper(w.Body.String() + log.String()); w.Code != 403 || strings.Contains(all, "S3CRET") {
			t.Errorf("got %d %s, want 403 and no secret", w.Code, all)
		}
	}
}

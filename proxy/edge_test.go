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

// A caller who closes his half of the connection does not read an empty
// success.
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
		t.Errorf("got %q", got)
	}
}

// A renamed portal's redirect does not reach the caller when the new address
// has no slot for him.
func TestRenamedWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived []string
		p := newProxy(t, nil).behind(renaming(t, map[string]string{"acme.bitrix24.com": "https://b.bitrix24.com"}, 302, &arrived))
		for range 49 {
			must(p.limiter.Acquire(t.Context(), limiter.Request{Upstream: "b.bitrix24.com"})).Answered(limiter.Accepted)
		}
		w := p.call("POST", deal, "", "Prefer", "wait=0")
		if e := tell(t, w); w.Code != 503 || e.Proxy.Reason != "queue_wait" || e.Proxy.Executed != "no" {
			t.Errorf("%d %+v", w.Code, e)
		}
	})
}

// A call that was lost once and refused when it was sent again may have run.
func TestLostThenRefused(t *testing.T) {
	sent := 0
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent++; sent == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(503)
		io.WriteString(w, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
	}))
	w := p.call("POST", "/rest/api/tasks.task.add", "{}", "Idempotency-Key", "k", "Prefer", "wait=0")
	if e := tell(t, w); sent != 2 || e.Proxy.Executed != "unknown" {
		t.Errorf("sent %d times, %+v", sent, e)
	}
}

// An empty body has a known length.
func TestEmptyBody(t *testing.T) {
	var got *http.Request
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r; io.WriteString(w, `{"result":1}`) }), nil)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		p.call(method, deal, "")
		if got.ContentLength != 0 || got.TransferEncoding != nil {
			t.Errorf("%s: length %d, %v", method, got.ContentLength, got.TransferEncoding)
		}
	}
}

// Through an outbound proxy that speaks TLS itself a lost write still may have
// run.
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
	if e := tell(t, w); ran != 1 || w.Code != 500 || e.Proxy.Executed != "unknown" {
		t.Errorf("ran %d times, %d %+v", ran, w.Code, e)
	}
}

// The goodbye of TLS is no part of a request; anything longer is.
func TestWireCountsBeyondTheGoodbye(t *testing.T) {
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
			t.Errorf("%d bytes, TLS %v: sent %v", c.written, c.tls, got)
		}
	}
}

// A portal that switches protocols unasked does not hold a call for ever.
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
	if w := p.call("POST", deal, "x"); w.Code != 500 || tell(t, w).Proxy.Reason != "reset" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A write is not sent for a caller who left while the connection was made.
func TestLeftDuringTheDial(t *testing.T) {
	sim := simulate(t)
	p := beforePortal(t, sim, nil)
	base := p.reverse.Transport.(*transport).base.(*http.Transport)
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
			t.Fatal("the slot is not given back")
		}
	}
	if n := sim.Arrived(); n != 0 {
		t.Errorf("%d arrived", n)
	}
}

// A portal that begins an answer and falls silent has not answered in time.
func TestSilenceInAnAnswer(t *testing.T) {
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"resu`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), func(c *Config) { c.UpstreamTimeout = 100 * time.Millisecond })
	if e := tell(t, p.call("POST", deal, "x")); e.Proxy.Reason != "timeout" {
		t.Errorf("%+v", e)
	}
}

// No room for a body is not the client's fault.
func TestNoRoomForABody(t *testing.T) {
	t.Setenv("TMPDIR", "/nonexistent")
	w := newProxy(t, nil).behind(good).call("POST", deal, strings.Repeat("x", 300<<10))
	if e := tell(t, w); w.Code != 503 || e.Error != "REQUEST_NOT_KEPT" || !e.Proxy.Retryable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %+v", w.Code, e)
	}
}

// What the portal does not say of its content is not guessed.
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
		t.Errorf("Content-Type %q", got)
	}
}

// Half an answer that the connection's end makes look whole is cut off for the
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
		t.Errorf("%d bytes and no error", n)
	}
}

// A status of 5xx is no success, whatever stands beneath it.
func TestResultAt502(t *testing.T) {
	for _, body := range []string{`{"result":true,"time":{}}`, `{"error":"","error_description":"z"}`} {
		w := newProxy(t, nil).behind(fixed(502, "application/json", []byte(body))).call("POST", deal, "")
		if e := tell(t, w); w.Code != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.PortalStatus != 502 {
			t.Errorf("%s: %d %+v", body, w.Code, e)
		}
	}
}

// What stands where a portal's name should is not repeated: it may be a secret.
func TestNamesAreNotRepeated(t *testing.T) {
	var log bytes.Buffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(good)
	for _, name := range []string{"S3CRETcode", "user:S3CRET@evil.example", "https://acme.bitrix24.com/rest/1/S3CRET/"} {
		w := p.call("POST", deal, "", "B24-Portal", name)
		if all := strings.ToUpper(w.Body.String() + log.String()); w.Code != 403 || strings.Contains(all, "S3CRET") {
			t.Errorf("%d %s", w.Code, all)
		}
	}
}

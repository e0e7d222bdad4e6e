package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// overPipes lets the proxy speak with a portal over connections without buffers, through
// a relay if there is one, so that it can run under testing/synctest. With a portal that
// has a certificate it speaks HTTP/2.
func (p *Proxy) overPipes(portal *http.Server, through *relay) (end func()) {
	pipes := newPipes()
	if portal.TLSConfig != nil {
		go portal.ServeTLS(pipes, "", "")
	} else {
		go portal.Serve(pipes)
	}
	base := p.reverse.Transport.(*transport).sender.base.(*http.Transport)
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		here, there := net.Pipe()
		if through != nil {
			there = through.pair(there)
		}
		select {
		case pipes.conns <- there:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return &countingConn{Conn: here}, nil
	}
	return func() {
		base.CloseIdleConnections()
		portal.Close()
		time.Sleep(time.Hour) // for handlers that do not see it
	}
}

// pipes is a listener of connections without buffers.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// dial returns the client's end of a new connection.
func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// reading reads a request's body in pieces, one after each pause, and stops after a
// number of them.
func reading(pieces int, piece int64, pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range pieces {
			time.Sleep(pause)
			if n, _ := io.CopyN(io.Discard, r.Body, piece); n < piece {
				io.WriteString(w, `{"result":1}`)
				return
			}
		}
		select { // a server does not see its client leave before it has read the body
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	})
}

// The timeout bounds how long a portal is silent, not how long a transfer takes: 16 MiB
// at 4 MiB a second pass a timeout of 2 s, and then the portal has all of it for its
// answer.
func TestSlowUploadIsNoSilence(t *testing.T) {
	for name, c := range map[string]struct {
		portal http.Handler
		took   time.Duration
		reason string
	}{
		"steadily":                            {reading(1<<20, 128<<10, time.Second/32), 4 * time.Second, ""},
		"a piece just before each time-out":   {reading(1<<20, 1<<20, 1900*time.Millisecond), 32 * time.Second, ""},
		"no more after a while":               {reading(64, 128<<10, time.Second/32), 4 * time.Second, "timeout"},
		"nothing":                             {reading(0, 0, 0), 2 * time.Second, "timeout"},
		"all of it, and then it is silent":    {before(time.Hour), 2 * time.Second, "timeout"},
		"all of it, and answers after 1.9 s":  {before(1900 * time.Millisecond), 1900 * time.Millisecond, ""},
		"slowly, and then it takes its time":  {slowThen(1900 * time.Millisecond), 6 * time.Second, ""},
		"slowly, and then it is silent":       {slowThen(time.Hour), 6 * time.Second, "timeout"},
		"and answers in pieces, each in time": {answering(1900 * time.Millisecond), 0, ""},
	} {
		t.Run("the portal takes "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(c *Config) {
					c.Upstream, c.UpstreamTimeout, c.MaxBody = mustURL("http://box.example"), 2*time.Second, 100<<20
				})
				defer p.overPipes(&http.Server{Handler: c.portal}, nil)()
				began := time.Now()
				w := p.call("POST", deal, strings.Repeat("x", 16<<20))
				took := time.Since(began)
				if c.took > 0 && (took < c.took-150*time.Millisecond || took > c.took+2200*time.Millisecond) {
					t.Errorf("got %v, want about %v", took, c.took)
				}
				switch {
				case c.reason == "" && w.Code != 200:
					t.Errorf("got %d %s after %v, want 200", w.Code, w.Body, took)
				case c.reason != "":
					e := errorOf(t, w)
					if e.Proxy.Reason != c.reason || e.Proxy.Executed != "unknown" || !strings.Contains(e.Description, "silent for 2s (B24PROXY_UPSTREAM_TIMEOUT)") {
						t.Errorf("got %d %s after %v, want the reason %s with the setting", w.Code, w.Body, took, c.reason)
					}
				}
			})
		})
	}
}

// before reads a request at once and answers it later.
func before(pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(pause):
			io.WriteString(w, `{"result":1}`)
		case <-r.Context().Done():
		}
	})
}

func slowThen(pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n := int64(1); n > 0; {
			time.Sleep(time.Second / 32)
			n, _ = io.CopyN(io.Discard, r.Body, 128<<10)
		}
		before(pause).ServeHTTP(w, r)
	})
}

func answering(pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for _, piece := range []string{`{"result":`, `[1,`, `2]`, `}`} {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
			time.Sleep(pause)
		}
	})
}

// Over HTTP/2 a slow transfer is not a silence either, and a portal that accepts no more
// of a body is silent.
func TestSlowUploadOverHTTP2(t *testing.T) {
	const timeout = 500 * time.Millisecond
	config, roots := certificate(t)
	for reason, portal := range map[string]http.Handler{
		"":        reading(1<<20, 256<<10, timeout/8),
		"timeout": reading(4, 256<<10, timeout/8),
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProxy(t, func(c *Config) {
				c.Upstream, c.Roots, c.UpstreamTimeout, c.MaxBody = mustURL("https://example.com"), roots, timeout, 100<<20
			})
			defer p.overPipes(&http.Server{Handler: proto2(t, portal), TLSConfig: config.Clone()}, nil)()
			w := p.call("POST", deal, strings.Repeat("x", 3<<20))
			if reason == "" && w.Code != 200 || reason != "" && errorOf(t, w).Proxy.Reason != reason {
				t.Errorf("got %d %s, want the reason %q", w.Code, w.Body, reason)
			}
		})
	}
}

// certificate returns what a portal with the name example.com, and a proxy before it,
// need for TLS.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{Certificates: server.TLS.Certificates}, roots
}

// proto2 fails the test if a request is not one of HTTP/2.
func proto2(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("got a request of %s, want HTTP/2", r.Proto)
		}
		h.ServeHTTP(w, r)
	})
}

// What the kernel buffers of a request has not reached the portal.
func TestSlowUploadThroughTheKernel(t *testing.T) {
	const timeout = 400 * time.Millisecond
	p := beforePortal(t, reading(1<<20, 128<<10, timeout/12), func(c *Config) { c.UpstreamTimeout, c.MaxBody = timeout, 100<<20 })
	if w := p.call("POST", deal, strings.Repeat("x", 4<<20)); w.Code != 200 {
		t.Errorf("got %d %s, want 200", w.Code, w.Body)
	}
}

// overTLS is a proxy in front of a portal that speaks HTTP/2.
func overTLS(t *testing.T, portal http.Handler) *Proxy {
	t.Helper()
	server := httptest.NewUnstartedServer(portal)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return newProxy(t, func(c *Config) {
		c.Upstream, c.Roots = mustURL("https://example.com"), roots
		c.ConnectTo = HostMap[string]{{Pattern: must(ParseHostPattern("example.com")), Value: server.Listener.Addr().String()}}
	})
}

// A relay passes connections on until it goes dark: then its open connections are dead,
// without an error, and new ones work.
type relay struct{ count, dark atomic.Int64 } // connections up to number dark are dead

// pair passes a connection on, and returns its other end.
func (r *relay) pair(near net.Conn) net.Conn {
	far, end := net.Pipe()
	number := r.count.Add(1)
	go r.pass(near, far, number)
	go r.pass(far, near, number)
	return end
}

func (r *relay) pass(from, to net.Conn, number int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		switch {
		case r.dark.Load() >= number:
		case n > 0:
			to.Write(buf[:n])
		}
		if err != nil {
			if r.dark.Load() < number {
				to.Close()
			}
			return
		}
	}
}

// A dead connection costs at most one call, and not each call its whole timeout.
func TestDeadConnection(t *testing.T) {
	const timeout = 600 * time.Millisecond
	config, roots := certificate(t)
	for _, method := range []string{"crm.deal.add", "crm.deal.list"} {
		synctest.Test(t, func(t *testing.T) {
			p := newProxy(t, func(c *Config) {
				c.Upstream, c.Roots, c.UpstreamTimeout = mustURL("https://example.com"), roots, timeout
			})
			var dark relay
			defer p.overPipes(&http.Server{Handler: proto2(t, good), TLSConfig: config.Clone()}, &dark)()
			if w := p.call("POST", hook+"/"+method, "x"); w.Code != 200 {
				t.Fatalf("got %d %s, want 200", w.Code, w.Body)
			}
			dark.dark.Store(1)
			lost := 0
			for i := range 8 {
				began := time.Now()
				if w := p.call("POST", hook+"/"+method, "x"); w.Code != 200 {
					lost++
					if e := errorOf(t, w); i > 0 || e.Proxy.Executed != "unknown" {
						t.Errorf("call %d after %v: got %d %s, want 200, or executed unknown for the first", i, time.Since(began), w.Code, w.Body)
					}
				}
			}
			if method == "crm.deal.list" && lost > 0 {
				t.Errorf("got %d lost reads, want none", lost)
			}
		})
	}
}

// After a timeout no earlier connection is used again.
func TestTimedOutConnectionsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns, hang atomic.Int64
		hang.Store(1 << 30)
		var release sync.WaitGroup
		release.Add(8)
		portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if r.Header.Get("X-Together") != "" {
				release.Done()
				release.Wait()
			} else if conns.Load() <= hang.Load() {
				<-r.Context().Done()
			}
			io.WriteString(w, `{"result":1}`)
		})
		p := newProxy(t, func(c *Config) {
			c.Upstream, c.UpstreamTimeout = mustURL("http://box.example"), 150*time.Millisecond
		})
		defer p.overPipes(&http.Server{Handler: portal, ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		}}, nil)()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { p.call("POST", deal, "x", "X-Together", "1") })
		}
		all.Wait()
		hang.Store(8)
		if w := p.call("POST", deal, "x"); w.Code != 500 {
			t.Errorf("got %d %s, want 500", w.Code, w.Body)
		}
		if w := p.call("POST", deal, "x"); w.Code != 200 {
			t.Errorf("got %d %s, want 200", w.Code, w.Body)
		}
	})
}

// A silence that ends a call is recognised, and named in the error.
func TestSilentFor(t *testing.T) {
	if err := error(silentFor(time.Second)); !errors.Is(err, errTimeout) || cause(err) != "silent for 1s (B24PROXY_UPSTREAM_TIMEOUT)" {
		t.Errorf("got %q, want the setting to be named", cause(err))
	}
}

package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// running is a proxy that listens on loopback ports.
type running struct {
	clients, admin string
	stop           context.CancelCauseFunc
	ended          chan error
}

// serve runs a proxy until stop is called or the test ends.
func (p *Proxy) serve(t *testing.T, drain time.Duration) *running {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	clients, admin := must(net.Listen("tcp", "127.0.0.1:0")), must(net.Listen("tcp", "127.0.0.1:0"))
	s := &running{"http://" + clients.Addr().String(), "http://" + admin.Addr().String(), stop, make(chan error, 1)}
	go func() { s.ended <- p.Serve(ctx, Listeners{Clients: clients, Admin: admin}, drain) }()
	return s
}

// post sends a call and returns its answer.
func (s *running) post(t *testing.T, client *http.Client) (status int, h http.Header) {
	t.Helper()
	resp, err := client.Post(s.clients+deal, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// As long as a call is open, a proxy that shuts down answers the calls that come with
// 503, on new connections and on old ones. However many come, it ends with the last
// call that was open before.
func TestShutdownWaitsForOpenCalls(t *testing.T) {
	arrived, answer := make(chan bool, 1), make(chan bool)
	var calls atomic.Int32
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 { // the first only opens a connection
			arrived <- true
			<-answer
		}
		good(w, r)
	}), nil)
	s := p.serve(t, time.Hour)
	old := &http.Client{Transport: &http.Transport{}}
	s.post(t, old)
	open := make(chan int)
	go func() {
		status, _ := s.post(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
		open <- status
	}()
	<-arrived
	s.stop(errors.New("the test says so"))
	for !p.calls.isClosed() {
		runtime.Gosched()
	}
	for name, client := range map[string]*http.Client{"an old connection": old, "a new connection": {Transport: &http.Transport{}}} {
		status, h := s.post(t, client)
		if status != 503 || h.Get("Retry-After") == "" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: got %d %v, want 503 with a Retry-After and a request id", name, status, h)
		}
	}
	if resp := must(http.Get(s.admin + "/readyz")); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got /readyz %d, want 503", resp.StatusCode)
	}
	var storm sync.WaitGroup
	halt := make(chan bool)
	for range 4 {
		storm.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for {
				select {
				case <-halt:
					return
				default:
				}
				if resp, err := client.Post(s.clients+deal, "", strings.NewReader("{}")); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	close(answer)
	if status := <-open; status != 200 {
		t.Errorf("the open call: got %d, want 200", status)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	close(halt)
	storm.Wait()
	if calls.Load() != 2 {
		t.Errorf("got %d calls at the portal, want 2", calls.Load())
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(s.clients, "http://")); err == nil {
		t.Error("it still listens, want the listener closed")
	}
}

// A call whose body is still on its way when its time is over is answered too: it was
// not sent.
func TestShutdownAnswersACallWhoseBodyIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- newProxy(t, nil).Serve(ctx, Listeners{Clients: clients, Admin: newPipes()}, 500*time.Millisecond)
		}()
		c := clients.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{", deal)
		synctest.Wait() // the call is open
		stop()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		var e shownError
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != http.StatusServiceUnavailable || e.Proxy.Reason != "draining" || e.Proxy.Executed != "no" {
			t.Errorf("got %d %+v (%v), want 503 for draining, not executed", resp.StatusCode, e, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Without an open call the proxy ends at once, though connections are open.
func TestShutdownWithoutOpenCalls(t *testing.T) {
	s := beforePortal(t, good, nil).serve(t, time.Hour)
	s.post(t, &http.Client{Transport: &http.Transport{}})
	began := time.Now()
	s.stop(nil)
	if err := <-s.ended; err != nil || time.Since(began) > 30*time.Second {
		t.Errorf("got %v after %v, want no error and no wait", err, time.Since(began))
	}
}

// A connection without a whole request delays the end by a tenth of the drain time, and
// by a second at most.
func TestShutdownDoesNotWaitForConnections(t *testing.T) {
	for drain, want := range map[time.Duration]time.Duration{2 * time.Second: 200 * time.Millisecond, time.Hour: time.Second} {
		t.Run(drain.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clients := newPipes()
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- newProxy(t, nil).Serve(ctx, Listeners{Clients: clients, Admin: newPipes()}, drain) }()
				c := clients.dial()
				defer c.Close()
				fmt.Fprint(c, "POST /rest/profile HTTP/1.1\r\n")
				began := time.Now()
				stop()
				if err := <-ended; err != nil || time.Since(began) != want {
					t.Errorf("got %v after %v, want no error after %v", err, time.Since(began), want)
				}
			})
		})
	}
}

// A call that is still with its portal near the end of the drain time is answered: how
// long it was there, that it may have run, and that the connection is closed.
func TestShutdownAnswersCallsThatAreWithTheirPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, nil).behind(simulate(t, "*:slow=10s"))
		calls, cut := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			p.drain(p.calls.close(), 2500*time.Millisecond, func() { cut(errStopped) })
		}()
		w := p.callContext(calls, "POST", deal, "{}")
		e := errorOf(t, w)
		if w.Code != 500 || e.Proxy.Reason != "draining" || e.Proxy.Executed != "unknown" || !strings.Contains(e.Description, "for 3.0 s") ||
			!strings.Contains(w.Header().Get("Server-Timing"), "portal;dur=3000.0") || w.Header().Get("Connection") != "close" {
			t.Errorf("got %d %s %v, want 500 for draining, unknown whether executed, after 3 s at the portal, and a closed connection", w.Code, w.Body, w.Header())
		}
		time.Sleep(time.Minute)
	})
}

// Calls that still wait for a slot after 7 tenths of the drain time are refused then,
// so that those with their portal have the rest.
func TestShutdownRefusesCallsThatStillWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Plan, c.QueueWait = limiter.Plan{Rate: 0.01, Burst: 2}, time.Hour }).behind(good)
		p.call("POST", deal, "{}")
		began := time.Now()
		answered := make(chan *httptest.ResponseRecorder)
		go func() { answered <- p.call("POST", deal, "{}") }()
		synctest.Wait() // it is in the queue
		go p.drain(p.calls.close(), 10*time.Second, func() { t.Error("calls were cut, want none: no call was with its portal") })
		w := <-answered
		if e := errorOf(t, w); w.Code != 503 || e.Proxy.Reason != "draining" || e.Proxy.Executed != "no" || time.Since(began) != 7*time.Second {
			t.Errorf("got %d %s after %v, want 503 for draining, not executed, after 7s", w.Code, w.Body, time.Since(began))
		}
	})
}

package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

const oneCall = "/rest/1/code/crm.deal.list"

// However a call ends, the next one may be sent for it.
func TestEndOfACallMakesRoomForTheNext(t *testing.T) {
	result := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"result":[],"time":{}}`) }
	var calls atomic.Int32
	for name, c := range map[string]struct {
		portal http.HandlerFunc // of the first call; the others get a result
		method string
		leave  time.Duration // when the caller hangs up
	}{
		"it ends with a result": {portal: result},
		"it is a HEAD":          {portal: result, method: http.MethodHead},
		"it is an OPTIONS":      {portal: result, method: http.MethodOptions},
		"it ends with a long file": {portal: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			w.Write(make([]byte, 8<<20))
		}},
		"it ends with a page": {portal: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>")
		}},
		"it ends with an error": {portal: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"expired_token","error_description":""}`)
		}},
		"it is refused and sent again": {portal: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
		}},
		"it is reset and sent again": {portal: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"it is sent again to a renamed portal": {portal: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://other.bitrix24.com"+r.URL.Path)
			w.WriteHeader(http.StatusFound)
		}},
		"it is redirected to another page": {portal: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://acme.bitrix24.com/login")
			w.WriteHeader(http.StatusFound)
		}},
		"it ends with a timeout":                   {portal: func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Minute) }},
		"its caller leaves while the portal works": {portal: func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute); result(w, r) }, leave: time.Second},
		"its caller leaves before it is sent":      {portal: result, leave: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls.Store(0)
				p := newProxy(t, func(c *Config) { c.Plan, c.InFlight = limiter.Unlimited, 1 }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if calls.Add(1) == 1 {
						c.portal(w, r)
					} else {
						result(w, r)
					}
				}))
				ctx := t.Context()
				if c.leave > 0 {
					bound, cancel := context.WithTimeout(ctx, c.leave)
					defer cancel()
					ctx = bound
				}
				method := c.method
				if method == "" {
					method = http.MethodGet
				}
				p.callContext(ctx, method, oneCall, "")
				time.Sleep(3 * time.Minute)
				for _, host := range []string{"acme.bitrix24.com", "other.bitrix24.com"} {
					if w := p.call(http.MethodGet, oneCall, "", "B24-Portal", host, "Prefer", "wait=0"); w.Code != http.StatusOK {
						t.Errorf("the next call of %s: got %d %s, want 200", host, w.Code, w.Body)
					}
				}
			})
		})
	}
}

// A call is in flight until the last byte of its answer has passed. B24PROXY_IN_FLIGHT
// bounds the calls of a portal without a rate limit too.
func TestCallIsInFlightUntilItsLastByte(t *testing.T) {
	arrived, finish := make(chan struct{}, 2), make(chan struct{})
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"result":["`+strings.Repeat("x", 2<<20))
		http.NewResponseController(w).Flush()
		arrived <- struct{}{}
		<-finish
		io.WriteString(w, `"],"time":{}}`)
	}))
	defer portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream, c.Plan, c.InFlight = mustURL(portal.URL), limiter.Unlimited, 1 })
	front := httptest.NewServer(p)
	defer front.Close()

	first, err := http.Get(front.URL + oneCall)
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	req := must(http.NewRequest(http.MethodGet, front.URL+oneCall, nil))
	req.Header.Set("Prefer", "wait=0")
	second, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(second.Body)
	second.Body.Close()
	if second.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), `"reason":"queue_wait"`) || second.Header.Get("Retry-After") == "" {
		t.Errorf("beside an answer that still passes: got %d %s, want 503 for queue_wait with a Retry-After", second.StatusCode, body)
	}
	close(finish)
	io.Copy(io.Discard, first.Body)
	first.Body.Close()
	third, err := http.Get(front.URL + oneCall)
	if err != nil || third.StatusCode != http.StatusOK {
		t.Fatalf("after it: got %v %v, want 200", third, err)
	}
	third.Body.Close()
}

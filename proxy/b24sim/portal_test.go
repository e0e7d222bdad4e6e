package b24sim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hook is a webhook address with an invented code.
const hook = "/rest/1/invented-code/"

// call sends one request to a handler without a network.
func call(t *testing.T, p http.Handler, verb, target, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(verb, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, p http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, p, "GET", target, "", "")
}

// wantAnswer fails the test unless an answer has a status and, in its body, a text.
func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), text) {
		t.Errorf("got %d %s, want %d %s", w.Code, w.Body, status, text)
	}
}

// decode reads a JSON answer.
func decode(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("got the answer %q (%v), want JSON", w.Body, err)
	}
	return v
}

// The counter accepts Burst calls at once, refuses the next with the portal's own
// answer, and accepts Rate more after each tick, whatever its phase.
func TestRateLimit(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			p := New(Config{Burst: 50, Rate: 2, Seed: seed + 1})
			for range 50 {
				if w := get(t, p, hook+"profile"); w.Code != 200 {
					t.Fatalf("within the burst: got status %d, want 200", w.Code)
				}
			}
			w := get(t, p, hook+"profile")
			if want := `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`; w.Code != 503 || w.Body.String() != want {
				t.Fatalf("above the burst: got %d %s, want 503 %s", w.Code, w.Body, want)
			}
			time.Sleep(time.Second) // any second holds exactly one tick
			codes := []int{}
			for range 3 {
				codes = append(codes, get(t, p, hook+"profile").Code)
			}
			if !slices.Equal(codes, []int{200, 200, 503}) {
				t.Errorf("seed %d, after one tick: got %v, want 200 200 503", seed+1, codes)
			}
			if p.Ran("PROFILE") != 52 || p.Refused() != 2 || p.Arrived() != 54 {
				t.Errorf("got %d run, %d refused, %d arrived, want 52, 2, 54", p.Ran("profile"), p.Refused(), p.Arrived())
			}
		})
	}
}

// If refused calls count, a caller that never pauses stays refused; if they do
// not, it gets every slot.
func TestRefusedCount(t *testing.T) {
	for _, counts := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := New(Config{Burst: 10, Rate: 2, RefusedCount: counts})
			for range 100 {
				get(t, p, hook+"profile")
				time.Sleep(100 * time.Millisecond)
			}
			ran := p.Ran("profile")
			if counts && ran > 14 {
				t.Errorf("refused calls count: got %d of 100 run, want at most 14", ran)
			}
			if !counts && ran < 28 {
				t.Errorf("refused calls do not count: got %d of 100 run, want at least 28", ran)
			}
		})
	}
}

// Speed makes virtual seconds pass faster than real ones.
func TestSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Burst: 10, Rate: 2, Speed: 10})
		p.Spend(10)
		time.Sleep(500 * time.Millisecond)
		if got := p.Level(); got != 0 {
			t.Errorf("got the level %d after 5 virtual seconds, want 0", got)
		}
	})
}

// Jitter delays arrivals: calls that are sent in order arrive in another order,
// and all arrive.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Jitter: 60 * time.Millisecond, Seed: 7})
		start := time.Now()
		for i := range 20 {
			go get(t, p, hook+"profile?n="+text(i))
		}
		time.Sleep(61 * time.Millisecond)
		var order []string
		for _, c := range p.Calls() {
			order = append(order, c.Query)
			if late := c.At.Sub(start); late < 0 || late > 60*time.Millisecond {
				t.Errorf("got an arrival after %v, want 0 to 60ms", late)
			}
		}
		if len(order) != 20 || slices.IsSorted(order) {
			t.Errorf("got the order %v, want all 20, not sorted", order)
		}
	})
}

// The calls of another program raise the same counter; with a counter for each
// address, those of the addresses that have called.
func TestSpend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perAddress := range []bool{false, true} {
			p := New(Config{Burst: 50, Rate: 2, PerAddress: perAddress})
			get(t, p, hook+"profile")
			p.Spend(48)
			if a, b := get(t, p, hook+"profile").Code, get(t, p, hook+"profile").Code; a != 200 || b != 503 {
				t.Errorf("PerAddress %v: got %d and %d, want 200 and 503", perAddress, a, b)
			}
			r := httptest.NewRequest(http.MethodGet, hook+"profile", nil)
			r.RemoteAddr = "198.51.100.7:4444"
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if (w.Code == 200) != perAddress {
				t.Errorf("PerAddress %v: another address got %d, want it accepted: %[1]v", perAddress, w.Code)
			}
		}
	})
}

// Only requests below /rest/ count: pages and tokens do not.
func TestCountsRestOnly(t *testing.T) {
	p := New(Config{Burst: 50, Rate: 2})
	get(t, p, "/disk/file")
	get(t, p, "/oauth/token")
	get(t, p, "//rest//nothing.at.all/")
	get(t, p, "/rest/download.json?token=x")
	get(t, p, hook+"batch?cmd[a]=profile&cmd[b]=profile")
	if got := p.Level(); got != 3 {
		t.Errorf("got the level %d, want 3", got)
	}
}

// A call runs even if its caller leaves, and ends at once.
func TestArrivedCallsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Latency: time.Hour})
		r := httptest.NewRequest(http.MethodGet, hook+"crm.deal.add", nil)
		ctx, leave := context.WithCancel(r.Context())
		go p.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		synctest.Wait()
		leave()
		synctest.Wait()
		if p.Ran("crm.deal.add") != 1 || p.Calls()[0].Status != 200 {
			t.Errorf("got %d run, calls %v, want one run and answered", p.Ran("crm.deal.add"), p.Calls())
		}
	})
}

package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
	"b24proxy/proxy/joining"
)

// joiningProxy makes a proxy that joins reads, for portals with a slot a second.
func joiningProxy(tb testing.TB, edit func(*Config)) *Proxy {
	tb.Helper()
	return newProxy(tb, func(c *Config) {
		c.Autobatch, c.QueueDepth, c.QueueWait = true, 10_000, time.Hour
		c.Plan = limiter.Plan{Rate: 1, Burst: 1}
		if edit != nil {
			edit(c)
		}
	})
}

// A readingPortal answers single reads and batches of them, and remembers all requests.
type readingPortal struct {
	single func(method string) (status int, body string)         // nil: a success
	batch  func(n int, commands map[string]string) (int, string) // of the n-th batch; nil: successes

	mu      sync.Mutex
	arrived []arrivedRequest
	batches int
}

type arrivedRequest struct {
	method, path, query string
	header              http.Header
	body                string
	commands            map[string]string
}

const spentTime = `{"start":1.5,"finish":1.6,"duration":0.1,"processing":0.1,"date_start":"2026-01-01T00:00:00+00:00","date_finish":"2026-01-01T00:00:00+00:00"}`

func (p *readingPortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a := arrivedRequest{method: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, body: string(body)}
	if a.method == "batch" {
		var b struct{ Cmd map[string]string }
		json.Unmarshal(body, &b)
		a.commands = b.Cmd
	}
	p.mu.Lock()
	p.arrived = append(p.arrived, a)
	if a.commands != nil {
		p.batches++
	}
	n := p.batches
	p.mu.Unlock()
	status, answer := 200, `{"result":"`+a.method+`","time":`+spentTime+`}`
	switch {
	case a.commands != nil && p.batch != nil:
		status, answer = p.batch(n, a.commands)
	case a.commands != nil:
		answer = p.answerAll(a.commands)
	case p.single != nil:
		status, answer = p.single(a.method)
	}
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Portal", "yes")
	w.WriteHeader(status)
	io.WriteString(w, answer)
}

// answerAll answers each command with its text.
func (p *readingPortal) answerAll(commands map[string]string) string {
	results, failures, times := map[string]any{}, map[string]any{}, map[string]json.RawMessage{}
	for key, command := range commands {
		if strings.Contains(command, "fail") {
			failures[key] = map[string]string{"error": "INSIDE", "error_description": "it has another text inside"}
			continue
		}
		results[key], times[key] = command, json.RawMessage(spentTime)
	}
	answer, _ := json.Marshal(map[string]any{"result": map[string]any{
		"result": results, "result_error": failures, "result_total": []int{}, "result_next": []int{}, "result_time": times,
	}, "time": json.RawMessage(spentTime)})
	return string(answer)
}

// requests returns those that arrived.
func (p *readingPortal) requests() []arrivedRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrived
}

// sizes lists how many reads each request carried: 1 for a single one.
func (p *readingPortal) sizes() (sizes []int) {
	for _, a := range p.requests() {
		sizes = append(sizes, max(1, len(a.commands)))
	}
	return sizes
}

// together lets n reads wait for the same slot, and returns their answers.
func (p *Proxy) together(n int, target func(i int) string, headers ...string) []*httptest.ResponseRecorder {
	answers := make([]*httptest.ResponseRecorder, n)
	p.call("GET", hook+"/crm.deal.fields", "") // takes the slot that is due
	var calls sync.WaitGroup
	for i := range answers {
		calls.Go(func() { answers[i] = p.call("GET", target(i), "", headers...) })
		synctest.Wait() // they come in this order
	}
	calls.Wait()
	return answers
}

func numbered(i int) string { return fmt.Sprintf("%s/crm.deal.get?ID=%d", hook, i) }

// Reads that wait are sent in one request, and each caller gets the answer to its own.
func TestWaitingReadsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		p := joiningProxy(t, nil).behind(portal)
		for i, w := range p.together(7, numbered) {
			want := fmt.Sprintf(`{"result":"crm.deal.get?ID=%d","time":%s}`, i, spentTime)
			if w.Code != 200 || w.Body.String() != want {
				t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
			}
			h := w.Header()
			if !strings.HasSuffix(h.Get("Server-Timing"), ", batch;desc=7") || h.Get("X-Portal") != "yes" || h.Get("Content-Length") != fmt.Sprint(w.Body.Len()) ||
				h.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("got the headers %v, want those of a success, and batch;desc=7", h)
			}
		}
		if got := fmt.Sprint(portal.sizes()); got != "[1 7]" {
			t.Errorf("got requests of %s reads, want [1 7]", got)
		}
		if a := portal.requests()[1]; a.path != hook+"/batch" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("got %+v, want a batch with the credential of the reads", a)
		}
		for series, want := range map[string]float64{"calls_total": 7, "batches_total": 1, "size_sum": 7, "size_count": 1} {
			if got := p.metric(fmt.Sprintf(`b24proxy_autobatch_%s{portal="acme.bitrix24.com"}`, series)); got != want {
				t.Errorf("autobatch_%s: got %v, want %v", series, got, want)
			}
		}
		if got := p.metric(`b24proxy_portal_requests_total{portal="acme.bitrix24.com",status_class="2xx"}`); got != 2 {
			t.Errorf("got %v attempts, want 2", got)
		}
		if got := p.metric(`b24proxy_requests_total{outcome="ok",portal="acme.bitrix24.com",status_class="2xx"}`); got != 8 {
			t.Errorf("got %v successes, want 8", got)
		}
	})
}

// Without the setting nothing is joined, except where the client wants it. With it, a
// client may want a read to be sent alone. The portal does not see what the client wants.
func TestPreferBatch(t *testing.T) {
	for name, c := range map[string]struct {
		autobatch bool
		prefer    string
		want      string
	}{
		"off":                        {false, "wait=50", "[1 1 1 1]"},
		"off, and wanted":            {false, "Batch=yes, wait=50", "[1 3]"},
		"reads":                      {true, "respond-async", "[1 3]"},
		"reads, and not wanted":      {true, `wait=50, batch="no"; x=y`, "[1 1 1 1]"},
		"reads, with an odd wish":    {true, "batch=maybe", "[1 3]"},
		"off, with an unknown value": {false, "batch", "[1 1 1 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				p := joiningProxy(t, func(c2 *Config) { c2.Autobatch = c.autobatch }).behind(portal)
				for _, w := range p.together(3, numbered, "Prefer", c.prefer) {
					if w.Code != 200 {
						t.Errorf("got %d %s, want 200", w.Code, w.Body)
					}
				}
				if got := fmt.Sprint(portal.sizes()); got != c.want {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
				for _, a := range portal.requests() {
					if got := a.header.Get("Prefer"); strings.Contains(strings.ToLower(got), "batch") {
						t.Errorf("got %q at the portal, want no word of batches", got)
					}
				}
			})
		})
	}
}

func fallbacks(reason joining.Reason) string {
	return fmt.Sprintf(`b24proxy_autobatch_fallbacks_total{portal="acme.bitrix24.com",reason=%q}`, reason)
}

// A caller who leaves while it waits is not in the batch. One who leaves while the batch
// is under way takes nothing from the others, and nobody waits for him.
func TestCallersWhoLeaveABatch(t *testing.T) {
	for name, leaves := range map[string]time.Duration{"before it is sent": 500 * time.Millisecond, "while it is under way": 1500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				portal.batch = func(_ int, commands map[string]string) (int, string) {
					time.Sleep(time.Second)
					return 200, portal.answerAll(commands)
				}
				p := joiningProxy(t, nil).behind(portal)
				p.call("GET", hook+"/crm.deal.fields", "")
				var calls sync.WaitGroup
				for i := range 6 {
					ctx, cancel := context.WithCancel(t.Context())
					if i%2 == 0 { // the one that gets the slot too
						time.AfterFunc(leaves, cancel)
					}
					calls.Go(func() {
						defer cancel()
						w := p.callContext(ctx, "GET", numbered(i), "")
						if i%2 == 1 && (w.Code != 200 || !strings.Contains(w.Body.String(), fmt.Sprintf("ID=%d", i))) {
							t.Errorf("got %d %s, want the result", w.Code, w.Body)
						}
					})
					synctest.Wait()
				}
				calls.Wait()
				want := map[string]int{"before it is sent": 3, "while it is under way": 6}[name]
				if got := portal.sizes(); len(got) != 2 || got[1] != want {
					t.Errorf("got requests of %v reads, want [1 %d]", got, want)
				}
			})
		})
	}
}

// A batch begins with ten reads of a method that nobody has seen, grows when they are
// fast, and leaves slow ones alone.
func TestBatchesGrow(t *testing.T) {
	for name, c := range map[string]struct{ duration, want string }{
		"fast": {"0.01", "[1 10 50 40]"},
		"slow": {"1.5", "[1 10 1 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				portal.batch = func(_ int, commands map[string]string) (int, string) {
					return 200, strings.ReplaceAll(portal.answerAll(commands), `"duration":0.1`, `"duration":`+c.duration)
				}
				portal.single = func(string) (int, string) {
					return 200, strings.ReplaceAll(`{"result":1,"time":`+spentTime+`}`, `"duration":0.1`, `"duration":`+c.duration)
				}
				p := joiningProxy(t, nil).behind(portal)
				p.together(100, numbered)
				if got := fmt.Sprint(portal.sizes()); !strings.HasPrefix(got, c.want) {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
			})
		})
	}
}

// What fails too often within batches is sent alone for a while, so that it does not take
// two slots each time.
func TestReadsThatOftenFailGoAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		p := joiningProxy(t, nil).behind(portal)
		p.together(10, func(int) string { return hook + "/crm.deal.get?ID=fail" })
		before := len(portal.requests())
		p.together(4, numbered)
		if got := fmt.Sprint(portal.sizes()[before:]); got != "[1 1 1 1 1]" {
			t.Errorf("got requests of %s reads after ten failures, want them alone", got)
		}
		time.Sleep(5 * time.Minute)
		before = len(portal.requests())
		p.together(4, numbered)
		if got := fmt.Sprint(portal.sizes()[before:]); got != "[1 4]" {
			t.Errorf("got requests of %s reads after five minutes, want [1 4]", got)
		}
	})
}

// A batch that fails as a whole says little of its reads: one does not keep those of its
// credential alone, however many it carried, but batches that fail in a row do.
func TestBatchesThatOftenFailAreGivenUp(t *testing.T) {
	for failures, want := range map[int]string{1: "[1 4]", 4: "[1 1 1 1 1]"} {
		t.Run(fmt.Sprintf("%d batches in a row failed", failures), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				portal.batch = func(n int, commands map[string]string) (int, string) {
					if n <= failures {
						return 403, `{"error":"insufficient_scope","error_description":""}`
					}
					return 200, portal.answerAll(commands)
				}
				p := joiningProxy(t, nil).behind(portal)
				for range failures {
					p.together(10, numbered)
				}
				before := len(portal.requests())
				p.together(4, numbered)
				if got := fmt.Sprint(portal.sizes()[before:]); got != want {
					t.Errorf("got requests of %s reads after %d failed batches, want %s", got, failures, want)
				}
			})
		})
	}
}

// 3,000 reads at once on the standard plan take less than a twenty-fifth of the time that
// they would take one by one, although one in a hundred fails. None gets another answer
// than alone, and the portal refuses none.
func TestJoinedReadsAreFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := simulate(t)
		p := joiningProxy(t, func(c *Config) { c.Plan, c.Log = limiter.Standard, slog.New(slog.DiscardHandler) }).behind(sim)
		alone := newProxy(t, func(c *Config) { c.Plan, c.Log = limiter.Unlimited, slog.New(slog.DiscardHandler) }).behind(simulateUnlimited())
		body := func(i int) string {
			if i%100 == 50 {
				return `{"select":["ID"]}` // without an id it is an error
			}
			return fmt.Sprintf(`{"id":%d}`, i)
		}
		began := time.Now()
		var calls sync.WaitGroup
		for i := range 3000 {
			calls.Go(func() {
				got := p.call("POST", hook+"/crm.deal.get", body(i), "Content-Type", "application/json")
				want := alone.call("POST", hook+"/crm.deal.get", body(i), "Content-Type", "application/json")
				if got.Code != want.Code || resultOf(got) != resultOf(want) {
					t.Errorf("read %d: got %d %s, want %d %s", i, got.Code, got.Body, want.Code, want.Body)
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); took > 1475*time.Second/25 || sim.Refused() > 0 {
			t.Errorf("got %v and %d refusals, want at most 59s and none", took, sim.Refused())
		} else {
			t.Logf("3,000 reads took %v with %d requests; one by one they would take 24m35s", took, sim.Arrived())
		}
	})
}

// simulateUnlimited makes a portal without limits.
func simulateUnlimited() *b24sim.Portal { return b24sim.New(b24sim.Config{Seed: 7}) }

// resultOf is an answer without its time, and without what differs between two calls.
func resultOf(w *httptest.ResponseRecorder) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(w.Body.Bytes(), &fields) != nil {
		return w.Body.String()
	}
	delete(fields, "time")
	delete(fields, "proxy")
	text, _ := json.Marshal(fields)
	return string(text)
}

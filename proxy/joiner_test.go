package proxy

import (
	"context"
	"encoding/json"
	"errors"
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

// What fails inside is sent alone, with a slot of its own, and its caller gets the text
// that the portal sends alone.
func TestErrorsInsideAreNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &readingPortal{single: func(method string) (int, string) {
			return 400, `{"error":"ALONE","error_description":"the text of a single call"}`
		}}
		p := joiningProxy(t, nil).behind(portal)
		answers := p.together(5, func(i int) string {
			if i == 2 {
				return hook + "/crm.deal.get?ID=fail"
			}
			return numbered(i)
		})
		for i, w := range answers {
			switch {
			case i != 2 && w.Code != 200:
				t.Errorf("read %d: got %d %s, want 200", i, w.Code, w.Body)
			case i == 2 && (w.Code != 400 || !strings.Contains(w.Body.String(), "the text of a single call") || strings.Contains(w.Header().Get("Server-Timing"), "batch")):
				t.Errorf("the read that failed: got %d %s %v, want the portal's own error", w.Code, w.Body, w.Header())
			}
		}
		if got := fmt.Sprint(portal.sizes()); got != "[1 5 1]" {
			t.Errorf("got requests of %s reads, want [1 5 1]", got)
		}
		if got := p.metric(fallbacks(joining.Error)); got != 1 {
			t.Errorf("got %v reads sent alone, want 1", got)
		}
		if got := p.metric(errorsTotal("other", "batch")); got != 0 {
			t.Errorf("got %v errors within batches, want none: the read's own error counts", got)
		}
	})
}

func fallbacks(reason joining.Reason) string {
	return fmt.Sprintf(`b24proxy_autobatch_fallbacks_total{portal="acme.bitrix24.com",reason=%q}`, reason)
}

// A batch that fails as a whole fails no read that would succeed alone.
func TestBatchFailsAsAWhole(t *testing.T) {
	reset := func() (int, string) { return 0, "" }
	page := func() (int, string) { return 502, "<html></html>" }
	for name, c := range map[string]struct {
		answer func() (int, string)
		times  int // it fails
		want   string
	}{
		"the limit refuses it":         {func() (int, string) { return 503, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"x"}` }, 1, "[1 8 8]"},
		"the connection breaks":        {reset, 1, "[1 8 4 4]"},
		"the connection breaks, again": {reset, 3, "[1 8 4 1 1 1 1 4 1 1 1 1]"},
		"a page":                       {page, 1, "[1 8 4 4]"},
		"an answer that is cut off":    {func() (int, string) { return 200, `{"result":{"result":{"c0":1` }, 1, "[1 8 4 4]"},
		"one result is badly encoded":  {func() (int, string) { return 200, `{"error":"WRONG_ENCODING","error_description":"x"}` }, 1, "[1 8 4 4]"},
		"PHP failed":                   {func() (int, string) { return 500, `{"error":"INTERNAL_SERVER_ERROR","error_description":"x"}` }, 1, "[1 8 4 4]"},
		"another status":               {func() (int, string) { return 201, `{"result":{}}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"an error of its own":          {func() (int, string) { return 403, `{"error":"insufficient_scope","error_description":""}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"a list in place of an object": {func() (int, string) { return 200, `{"result":{"result":[1,2,3,4,5,6,7,8]},"time":{}}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"nothing in it": {func() (int, string) {
			return 200, `{"result":{"result":[],"result_error":[],"result_total":[],"result_next":[],"result_time":[]}}`
		}, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"it is redirected to a page":     {func() (int, string) { return 302, "" }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"a gateway does not let it pass": {func() (int, string) { return 413, "<html></html>" }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				portal.batch = func(n int, commands map[string]string) (int, string) {
					if n <= c.times {
						return c.answer()
					}
					return 200, portal.answerAll(commands)
				}
				p := joiningProxy(t, nil).behind(portal)
				for i, w := range p.together(8, numbered) {
					isOwn := strings.Contains(w.Body.String(), fmt.Sprintf(`"crm.deal.get?ID=%d"`, i)) || strings.Contains(w.Body.String(), `"crm.deal.get"`)
					if w.Code != 200 || !isOwn {
						t.Errorf("read %d: got %d %s, want its result", i, w.Code, w.Body)
					}
				}
				if got := fmt.Sprint(portal.sizes()); got != c.want {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
			})
		})
	}
}

// What every read would get alone, all of them get with one attempt: the error of an
// expired token, and that of a portal that cannot be reached.
func TestErrorOfAllReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &readingPortal{batch: func(int, map[string]string) (int, string) {
			return 401, `{"error":"expired_token","error_description":"The access token provided has expired."}`
		}}
		p := joiningProxy(t, nil).behind(portal)
		for _, w := range p.together(6, numbered) {
			if e := errorOf(t, w); w.Code != 401 || e.Error != "expired_token" || e.Proxy.Executed != "no" {
				t.Errorf("got %d %s, want 401 expired_token", w.Code, w.Body)
			}
		}
		if got := fmt.Sprint(portal.sizes()); got != "[1 6]" {
			t.Errorf("got requests of %s reads, want [1 6]", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := joiningProxy(t, nil).behind(new(readingPortal))
		to := &p.reverse.Transport.(*transport).sender.base
		reachable, attempts := *to, 0
		*to = roundTripper(func(req *http.Request) (*http.Response, error) {
			if attempts++; attempts > 1 {
				return nil, errors.New("no such host")
			}
			return reachable.RoundTrip(req)
		})
		for _, w := range p.together(6, numbered) {
			if e := errorOf(t, w); w.Code != 503 || e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" {
				t.Errorf("got %d %s, want 503 PORTAL_UNREACHABLE", w.Code, w.Body)
			}
		}
		if attempts != 2 {
			t.Errorf("got %d attempts, want 2", attempts)
		}
	})
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

// A batch carries the credential where its reads do, and reads of another credential, or
// with it elsewhere, travel apart.
func TestBatchCarriesTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		p := joiningProxy(t, func(c *Config) { c.Plan = limiter.Plan{Rate: 1, Burst: 1} }).behind(portal)
		p.call("GET", hook+"/crm.deal.fields", "")
		var calls sync.WaitGroup
		for range 3 {
			for _, c := range [][]string{
				{"/rest/user.get?auth=one", ""}, {"/rest/user.get?auth=two", ""}, {"/rest/user.get", "auth=one"}, {"/rest/user.get", "", "Authorization", "Bearer one"},
			} {
				headers := append([]string{"Content-Type", "application/x-www-form-urlencoded"}, c[2:]...)
				calls.Go(func() {
					if w := p.call("POST", c[0], c[1], headers...); w.Code != 200 {
						t.Errorf("got %d %s, want 200", w.Code, w.Body)
					}
				})
			}
		}
		calls.Wait()
		got := map[string]int{}
		for _, a := range portal.requests()[1:] {
			token := "no token"
			if strings.HasPrefix(a.body, `{"auth":"one",`) {
				token = "in the body"
			}
			got[fmt.Sprintf("%s?%s %s %s", a.path, a.query, a.header.Get("Authorization"), token)] = len(a.commands)
		}
		want := map[string]int{
			"/rest/batch?auth=one  no token": 3, "/rest/batch?auth=two  no token": 3, "/rest/batch?  in the body": 3, "/rest/batch? Bearer one no token": 3,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
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

// Nobody waits for a batch longer than twenty seconds, so that its reads can be sent
// again while their callers are there.
func TestSilentBatchIsHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		portal.batch = func(n int, commands map[string]string) (int, string) {
			if n == 1 {
				time.Sleep(time.Minute)
			}
			return 200, portal.answerAll(commands)
		}
		p := joiningProxy(t, nil).behind(portal)
		began := time.Now()
		for _, w := range p.together(6, numbered) {
			if w.Code != 200 {
				t.Errorf("got %d %s, want 200", w.Code, w.Body)
			}
		}
		if took := time.Since(began); took > 25*time.Second || !strings.HasPrefix(fmt.Sprint(portal.sizes()), "[1 6 ") {
			t.Errorf("got requests of %v reads within %v, want [1 6 and smaller ones within 25s", portal.sizes(), took)
		}
		time.Sleep(time.Minute)
	})
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

// What the commands of a webhook's batch report of operating time is not the webhook's
// own; that of an application is. A method that is held is sent alone, and while the method
// batch is held, nothing is joined.
func TestOperatingTimeOfABatch(t *testing.T) {
	answered := func(portal *readingPortal, operating string) {
		portal.batch = func(_ int, commands map[string]string) (int, string) {
			return 200, strings.ReplaceAll(portal.answerAll(commands), `"duration":0.1`, `"duration":0.1,`+operating)
		}
	}
	ratioOf := func(p *Proxy, method string) (ratio float64) {
		for _, s := range p.budgets.List(time.Now(), "acme.bitrix24.com", 10) {
			if s.Method == method {
				ratio = s.Ratio
			}
		}
		return ratio
	}
	for name, c := range map[string]struct {
		target string
		want   float64
	}{
		"a webhook":      {hook + "/user.get?ID=1", 0},
		"an application": {"/rest/user.get?ID=1&auth=token", 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				answered(portal, `"operating":240`)
				p := joiningProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
				p.together(3, func(int) string { return c.target })
				if got := ratioOf(p, "user.get"); got != c.want {
					t.Errorf("got a ratio of %v for the method, want %v", got, c.want)
				}
				if got := ratioOf(p, "batch"); got != 0.5 {
					t.Errorf("got a ratio of %v for batch, want 0.5", got)
				}
			})
		})
	}
	t.Run("batch is held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			portal := new(readingPortal)
			answered(portal, `"operating":480`)
			p := joiningProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
			p.together(3, numbered)
			p.together(3, numbered)
			if got := fmt.Sprint(portal.sizes()); got != "[1 3 1 1 1 1]" {
				t.Errorf("got requests of %s reads, want the second three alone", got)
			}
		})
	})
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

// The answer of a batch may be long. If there is no room for it, its reads are sent in
// smaller ones.
func TestLongAnswerOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		room int64 // for answers; 0: all
		want string
	}{
		"there is room":              {0, "[1 10]"},
		"there is room for a half":   {300 << 10, "[1 10 5 5]"},
		"there is room for one read": {60 << 10, "[1 10 5 1 1 1 1 1 5 1 1 1 1 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				padding := strings.Repeat("ä", 20<<10)
				portal.batch = func(_ int, commands map[string]string) (int, string) {
					return 200, strings.ReplaceAll(portal.answerAll(commands), "crm.deal.get?", padding)
				}
				p := joiningProxy(t, nil).behind(portal)
				memory := &p.reverse.Transport.(*transport).joiner.spool.memory
				if c.room > 0 {
					memory.take(memory.size*7/8-c.room, 0)
				}
				before := memory.used.Load()
				for i, w := range p.together(10, numbered) {
					if w.Code != 200 || !strings.Contains(w.Body.String(), fmt.Sprintf("äID=%d", i)) && !strings.Contains(w.Body.String(), `"crm.deal.get"`) {
						t.Errorf("read %d: got %d %.100s, want its result", i, w.Code, w.Body)
					}
				}
				if got := fmt.Sprint(portal.sizes()); got != c.want {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
				if got := memory.used.Load(); got != before {
					t.Errorf("got %d bytes held at the end, want %d as before", got, before)
				}
			})
		})
	}
}

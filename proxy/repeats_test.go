package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/b24sim"
	"b24proxy/proxy/operator"
)

func guarded(c *Config) { c.RepeatGuard = time.Minute }

// guard plays a test with a proxy that recognizes repetitions, and a portal with faults.
func guard(t *testing.T, play func(t *testing.T, p *Proxy, sim *b24sim.Portal), faults ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate(t, faults...)
		play(t, newProxy(t, guarded).behind(sim), sim)
		time.Sleep(time.Hour) // calls whose callers have left end
	})
}

// callFor adds a deal, and leaves after a time.
func (p *Proxy) callFor(d time.Duration, body string, headers ...string) *httptest.ResponseRecorder {
	ctx, leave := context.WithTimeout(context.Background(), d)
	defer leave()
	return p.callContext(ctx, "POST", deal, body, headers...)
}

// wantReplayed fails the test unless an answer is that of another call, and a success.
func wantReplayed(t *testing.T, w *httptest.ResponseRecorder, want bool) {
	t.Helper()
	if w.Code != 200 || (w.Header().Get("Idempotent-Replayed") == "true") != want {
		t.Errorf("got %d, replayed %q, %s, want 200, replayed %t", w.Code, w.Header().Get("Idempotent-Replayed"), w.Body, want)
	}
}

// wantHeld fails the test unless a call was not sent since its first may have run, and
// the answer says these words about that.
func wantHeld(t *testing.T, w *httptest.ResponseRecorder, words ...string) {
	t.Helper()
	e := errorOf(t, w)
	if w.Code != 409 || e.Error != "CALL_MAY_HAVE_RUN" || e.Proxy.Source != "proxy" || e.Proxy.Reason != "repeat" || e.Proxy.Executed != "unknown" || e.Proxy.Retryable || w.Header().Get("Retry-After") != "" {
		t.Errorf("got %d %s, want 409 CALL_MAY_HAVE_RUN, not to be repeated", w.Code, w.Body)
	}
	for _, word := range append(words, "UTC", "another Idempotency-Key") {
		if !strings.Contains(e.Description, word) {
			t.Errorf("got the text %q, want %q in it", e.Description, word)
		}
	}
}

func wantRan(t *testing.T, sim *b24sim.Portal, want int) {
	t.Helper()
	if ran := sim.Ran(add); ran != want {
		t.Errorf("%s ran %d times, want %d", add, ran, want)
	}
}

const add = "crm.deal.add"

// A caller who leaves while its write is with the portal, and repeats it, gets the
// answer of the first: it joins it, or the answer is there. Then the write was received,
// and the same one is another write.
func TestCallerLeavesAndRepeats(t *testing.T) {
	for name, pause := range map[string]time.Duration{"while the first is under way": 0, "when its answer has come": time.Second, "much later": 50 * time.Second} {
		t.Run(name, func(t *testing.T) {
			guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
				t.Helper()
				p.callFor(300*time.Millisecond, `{"fields":{"TITLE":"one"}}`)
				time.Sleep(pause)
				began := time.Now()
				first := p.call("POST", deal, `{"fields":{"TITLE":"one"}}`, "User-Agent", "another", "X-Request-Id", "second")
				wantReplayed(t, first, true)
				if took, want := time.Since(began), max(0, 600*time.Millisecond-pause); took != want {
					t.Errorf("the answer took %v, want %v", took, want)
				}
				if id := first.Header().Get("X-Request-Id"); id != "second" || len(first.Header()["Server-Timing"]) != 1 || len(first.Header()["Ratelimit"]) != 1 {
					t.Errorf("got the header %v, want one that is of this call", first.Header())
				}
				wantRan(t, sim, 1)
				wantReplayed(t, p.call("POST", deal, `{"fields":{"TITLE":"one"}}`), false)
				wantRan(t, sim, 2)
			}, "*:slow=900ms")
		})
	}
}

// A client that gives up may send the repetition a moment before its old connection is
// closed. If that is not closed soon, there are two callers.
func TestRepetitionComesBeforeItsFirstLeaves(t *testing.T) {
	for early, wantRuns := range map[time.Duration]int{99 * time.Millisecond: 1, 101 * time.Millisecond: 2} {
		guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
			t.Helper()
			var first sync.WaitGroup
			first.Go(func() { p.callFor(300*time.Millisecond, "{}") })
			time.Sleep(300*time.Millisecond - early)
			wantReplayed(t, p.call("POST", deal, "{}"), wantRuns == 1)
			first.Wait()
			wantRan(t, sim, wantRuns)
		}, "*:slow=900ms")
	}
}

// The window is over when nobody asks within it.
func TestWindowEnds(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		p.callFor(300*time.Millisecond, "{}")
		time.Sleep(600*time.Millisecond + time.Minute)
		wantReplayed(t, p.call("POST", deal, "{}"), false)
		wantRan(t, sim, 2)
	}, "*:slow=900ms")
}

// A repetition whose caller leaves too leaves the answer to the next one.
func TestRepetitionLeaves(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		for range 3 {
			p.callFor(200*time.Millisecond, "{}")
		}
		wantReplayed(t, p.call("POST", deal, "{}"), true)
		wantRan(t, sim, 1)
	}, "*:slow=900ms")
}

// Two equal writes are two: one after the other, and at the same time. Other writes are
// others, by any byte of them.
func TestOtherWritesAreSent(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { wantReplayed(t, p.call("POST", deal, "{}"), false) })
		}
		both.Wait()
		wantReplayed(t, p.call("POST", deal, "{}"), false)
		wantRan(t, sim, 3)
		p.callFor(300*time.Millisecond, `{"a":1}`)
		for i, w := range []*httptest.ResponseRecorder{
			p.call("POST", deal, `{"a":2}`), p.call("PUT", deal, `{"a":1}`), p.call("POST", deal+"?b=1", `{"a":1}`), p.call("POST", deal+".json", `{"a":1}`),
			p.call("POST", "/rest/1/another/crm.deal.add", `{"a":1}`), p.call("POST", deal, `{"a":1}`, "B24-Portal", "beta.bitrix24.com"),
		} {
			if w.Header().Get("Idempotent-Replayed") != "" || w.Code == 409 {
				t.Errorf("%d: got %d %v, want it sent", i, w.Code, w.Header())
			}
		}
		wantReplayed(t, p.call("POST", deal, `{"a":1}`), true)
	}, "*:slow=900ms")
}

// A write whose answer was lost after it may have run is not sent again for a client
// that repeats it: neither at once nor at the end of the window.
func TestUnknownOutcome(t *testing.T) {
	for fault, c := range map[string]struct {
		status int
		became string
	}{
		"reset-after": {500, "the connection to the portal broke"}, "reset-before": {500, "the connection to the portal broke"},
		"html:after": {500, "an HTML page"}, "site-closed:after": {500, "an HTML page"}, "empty:after": {500, "answer was empty"}, "truncated": {500, "answer broke off"},
		"php-fatal": {500, "an HTML page"}, "INTERNAL_SERVER_ERROR:after": {500, "the error INTERNAL_SERVER_ERROR"},
		"slow=2m": {500, "did not answer in time"}, "WRONG_ENCODING:after": {422, "it ran, but the portal answered with the error WRONG_ENCODING"},
	} {
		t.Run(fault, func(t *testing.T) {
			guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
				t.Helper()
				if w := p.call("POST", deal, "{}"); w.Code != c.status {
					t.Fatalf("got %d %s, want %d", w.Code, w.Body, c.status)
				}
				wantHeld(t, p.call("POST", deal, "{}"), c.became)
				time.Sleep(time.Minute - 1)
				wantHeld(t, p.call("POST", deal, "{}"), c.became)
				ran := sim.Ran(add)
				if ran > 1 {
					t.Errorf("ran %d times, want once at most", ran)
				}
				time.Sleep(time.Nanosecond)
				p.call("POST", deal, "{}")
				if sim.Arrived() != 2 {
					t.Errorf("after the window: got %d calls at the portal, want the second", sim.Arrived())
				}
			}, add+":"+fault)
		})
	}
}

// What surely did not run is sent again, and so is what may run twice without harm, and
// what was refused by its method.
func TestNotHeld(t *testing.T) {
	for name, c := range map[string]struct{ fault, path string }{
		"refused for its authorization":     {"expired_token", deal},
		"refused by its method":             {"error=\"NOT_ENOUGH\":after", deal},
		"an update":                         {"reset-after", "/rest/1/code/crm.deal.update"},
		"a set":                             {"html:after", "/rest/1/code/crm.deal.productrows.set"},
		"a delete":                          {"truncated", "/rest/1/code/crm.deal.delete"},
		"a read":                            {"slow=2m", "/rest/1/code/crm.deal.list"},
		"a batch of reads":                  {"slow=2m", "/rest/1/code/batch?cmd[a]=crm.deal.list"},
		"a version 3 write with a key":      {"reset-after", "/rest/api/1/code/tasks.task.add"},
		"a file of a signed address":        {"slow=2m", "/rest/download.json?token=abc"},
		"what is not of the API":            {"html", "/oauth/token"},
		"a question about cross-origin use": {"slow=2m", deal + "?options"},
	} {
		t.Run(name, func(t *testing.T) {
			guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
				t.Helper()
				method := "POST"
				switch {
				case strings.Contains(c.path, "token="):
					method = "GET"
				case strings.HasSuffix(c.path, "options"):
					method = "OPTIONS"
				}
				var headers []string
				if strings.Contains(c.path, "api") {
					headers = []string{"Idempotency-Key", "k"}
				}
				p.call(method, c.path, "", headers...)
				before := sim.Arrived()
				if w := p.call(method, c.path, "", headers...); w.Code == 409 || sim.Arrived() == before && !strings.Contains(c.path, "oauth") {
					t.Errorf("got %d %s, want it sent", w.Code, w.Body)
				}
			}, "*:"+c.fault)
		})
	}
}

// What only looks like one of those is held.
func TestHeldAllTheSame(t *testing.T) {
	for name, path := range map[string]string{
		"a method like update":            "/rest/1/code/crm.deal.batchUpdate",
		"a method like set":               "/rest/1/code/crm.item.preset",
		"a batch with a write":            "/rest/1/code/batch?cmd[a]=crm.deal.list&cmd[b]=crm.deal.add",
		"a version 3 write without key":   "/rest/api/1/code/tasks.task.add",
		"a write by GET with a token":     "/rest/1/code/crm.deal.add?token=1",
		"a path that is not understood":   "/rest/1/code/%63rm.deal.add",
		"a method that looks like a read": "/rest/1/code/event.offline.get",
	} {
		t.Run(name, func(t *testing.T) {
			guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
				t.Helper()
				p.call("GET", path, "")
				wantHeld(t, p.call("GET", path, ""))
				if sim.Arrived() != 1 {
					t.Errorf("got %d calls at the portal, want 1", sim.Arrived())
				}
			}, "*:html:after")
		})
	}
}

// A caller who leaves before its write went out leaves nothing behind; neither does a
// portal that cannot be reached.
func TestNothingWentOut(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		sim.Spend(1000)
		p.callFor(10*time.Second, "{}") // it is refused, and waits
		time.Sleep(10 * time.Minute)
		wantReplayed(t, p.call("POST", deal, "{}"), false)
		wantRan(t, sim, 1)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, guarded)
		p.reverse.Transport.(*transport).sender.base = unreachable{}
		for range 2 {
			if w := p.call("POST", deal, "{}"); w.Code != 503 {
				t.Errorf("got %d %s, want 503", w.Code, w.Body)
			}
		}
	})
}

// unreachable is a portal without an address.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("no route")
}

// A first that turns out not to have run, when its caller has left, is sent by the one
// who joined it.
func TestFirstDidNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		p := newProxy(t, guarded).behind(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n := arrived.Add(1)
			time.Sleep(time.Second)
			if n == 1 {
				w.WriteHeader(http.StatusUnauthorized)
				w.Write([]byte(`{"error":"expired_token","error_description":"The access token provided has expired."}`))
				return
			}
			w.Write([]byte(`{"result":1}`))
		}))
		p.callFor(300*time.Millisecond, "{}")
		wantReplayed(t, p.call("POST", deal, "{}"), false)
		if n := arrived.Load(); n != 2 {
			t.Errorf("got %d calls at the portal, want 2", n)
		}
	})
}

// A large body, which is kept on disk, is compared too, whatever part of it fits into
// memory.
func TestLargeBodiesAreCompared(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		body := `{"fields":{"TITLE":"` + strings.Repeat("x", 900<<10) + `"}}`
		p.callFor(300*time.Millisecond, body)
		memory := &p.receiver.spool.memory
		memory.take(memoryTotal*7/8-memory.used.Load(), 0) // now bodies go to disk much earlier
		other := p.call("POST", deal, strings.Replace(body, `x"}}`, `y"}}`, 1))
		wantReplayed(t, other, false)
		wantReplayed(t, p.call("POST", deal, body), true)
		wantRan(t, sim, 2)
	}, "*:slow=900ms")
}

// seeing is a journal that lets a function see each event.
type seeing func(operator.Event)

func (s seeing) Record(e operator.Event) { s(e) }

// The events name both requests. Each repetition is counted once.
func TestRepeatsAreRecorded(t *testing.T) {
	for observe, want := range map[bool][]metrics.Replay{
		false: {metrics.Joined, metrics.Replayed, metrics.Held, metrics.Mismatch},
		true:  {metrics.Joined, metrics.Replayed, metrics.Held, metrics.Mismatch},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := simulate(t, "crm.lead.add:html:after", "*:slow=900ms")
			p := newProxy(t, func(c *Config) { guarded(c); c.Observe = observe }).behind(sim)
			var events []operator.RepeatSeen
			p.recordTo(seeing(func(e operator.Event) {
				if seen, is := e.(operator.RepeatSeen); is {
					events = append(events, seen)
				}
			}))
			p.callFor(300*time.Millisecond, "{}", "X-Request-Id", "first")
			p.call("POST", deal, "{}", "X-Request-Id", "second")
			p.callFor(300*time.Millisecond, "{}", "X-Request-Id", "first")
			time.Sleep(time.Second)
			p.call("POST", deal, "{}", "X-Request-Id", "second")
			const lead = "/rest/1/code/crm.lead.add"
			p.call("POST", lead, "{}", "X-Request-Id", "first")
			p.call("POST", lead, "{}", "X-Request-Id", "second")
			p.call("POST", deal, `{"a":1}`, "Idempotency-Key", "k", "X-Request-Id", "first")
			p.call("POST", deal, `{"a":2}`, "Idempotency-Key", "k", "X-Request-Id", "second")
			var got []metrics.Replay
			for _, seen := range events {
				got = append(got, seen.Result)
				if seen.FirstID != "first" || seen.RequestID != "second" || seen.IsSent != observe || seen.FirstSent.IsZero() {
					t.Errorf("got %+v, want both requests", seen)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("observe %t: got %v, want %v", observe, got, want)
			}
			ran := map[bool]int{false: 3, true: 6}[observe]
			wantRan(t, sim, ran)
		})
	}
}

// Without a guard nothing is remembered, and no key is read.
func TestGuardIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := simulate(t, "*:slow=900ms")
		p := newProxy(t, nil).behind(sim)
		for range 2 {
			p.callFor(300*time.Millisecond, "{}")
			p.callFor(300*time.Millisecond, "{}", "Idempotency-Key", "ключ")
		}
		time.Sleep(time.Second)
		wantRan(t, sim, 4)
	})
}

func faults(t *testing.T, texts ...string) (all []b24sim.Fault) {
	t.Helper()
	for _, text := range texts {
		all = append(all, must(b24sim.ParseFault(text)))
	}
	return all
}

// Who waits for the first of a key is refused as if he waited for a slot himself, when
// the first still does after his patience.
func TestPatienceOfWhoJoins(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		sim.Spend(1000)
		p.call("POST", "/rest/1/code/crm.deal.list", "{}", "Prefer", "wait=1") // the proxy learns that the limit is used up
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- p.call("POST", deal, "{}", "Idempotency-Key", "k") }()
		time.Sleep(time.Second)
		if w := p.call("POST", deal, "{}", "Idempotency-Key", "k", "Prefer", "wait=2"); w.Code != 503 || errorOf(t, w).Proxy.Executed != "no" {
			t.Errorf("got %d %s, want 503", w.Code, w.Body)
		}
		<-done
	})
}

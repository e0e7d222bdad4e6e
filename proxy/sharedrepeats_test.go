package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/b24sim"
)

// A pair is two replicas with one store, before one portal.
type pair struct {
	a, b   *Proxy
	sim    *b24sim.Portal
	shared *sharedMemory
}

// mostInFlight is how many calls of a pair's replica may be in flight.
const mostInFlight = 30

// replicas plays a test with two replicas that recognize repetitions, and a portal with
// faults.
func replicas(t *testing.T, play func(t *testing.T, p pair), faults ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate(t, faults...)
		proxies, shared := newReplicas(t, 2, sim, func(c *Config) { guarded(c); c.InFlight = mostInFlight })
		play(t, pair{proxies[0], proxies[1], sim, shared})
		time.Sleep(25 * time.Hour)
		if n := shared.writes.Len(); n > 0 {
			t.Errorf("got %d calls in the store a day later, want none", n)
		}
	})
}

// A caller who leaves one replica while its write is with the portal, and repeats it at
// the other, gets the answer of the first, and the third equal write is another one at
// each of them.
func TestCallerLeavesAndRepeatsElsewhere(t *testing.T) {
	for name, pause := range map[string]time.Duration{"while the first is under way": 0, "when its answer has come": time.Second, "much later": 50 * time.Second} {
		for third, at := range map[string]func(p pair) *Proxy{
			"the first replica": func(p pair) *Proxy { return p.a }, "the second one": func(p pair) *Proxy { return p.b },
		} {
			t.Run(name+", and a third comes to "+third, func(t *testing.T) {
				replicas(t, func(t *testing.T, p pair) {
					t.Helper()
					p.a.callFor(300*time.Millisecond, "{}")
					time.Sleep(pause)
					wantReplayed(t, p.b.call("POST", deal, "{}"), true)
					wantRan(t, p.sim, 1)
					wantReplayed(t, at(p).call("POST", deal, "{}"), false)
					wantRan(t, p.sim, 2)
				}, "*:slow=900ms")
			})
		}
	}
}

// A write whose answer was lost at one replica, after it may have run, is not sent by the
// other one within the window.
func TestUnknownOutcomeElsewhere(t *testing.T) {
	for fault, became := range map[string]string{
		"reset-after": "the connection to the portal broke", "html:after": "an HTML page", "slow=2m": "did not answer in time",
		"WRONG_ENCODING:after": "it ran, but the portal answered with the error WRONG_ENCODING",
	} {
		t.Run(fault, func(t *testing.T) {
			replicas(t, func(t *testing.T, p pair) {
				t.Helper()
				p.a.call("POST", deal, "{}")
				wantHeld(t, p.b.call("POST", deal, "{}"), became)
				time.Sleep(time.Minute - time.Second)
				wantHeld(t, p.b.call("POST", deal, "{}"), became)
				before := p.sim.Arrived()
				time.Sleep(time.Second)
				p.b.call("POST", deal, "{}")
				if p.sim.Arrived() != before+1 {
					t.Errorf("after the window: got %d calls at the portal, want another one", p.sim.Arrived())
				}
			}, add+":"+fault)
		})
	}
}

// What surely did not run is sent by the other replica, and so is what may run twice.
func TestNotHeldElsewhere(t *testing.T) {
	for name, c := range map[string]struct{ fault, path string }{
		"refused for its authorization": {"expired_token", deal},
		"refused by its method":         {"error=\"NOT_ENOUGH\":after", deal},
		"an update":                     {"reset-after", "/rest/1/code/crm.deal.update"},
	} {
		t.Run(name, func(t *testing.T) {
			replicas(t, func(t *testing.T, p pair) {
				t.Helper()
				p.a.call("POST", c.path, "{}")
				p.b.call("POST", c.path, "{}")
				if p.sim.Arrived() != 2 {
					t.Errorf("got %d calls at the portal, want 2", p.sim.Arrived())
				}
			}, "*:"+c.fault)
		})
	}
}

// Two callers who wait at two replicas for equal writes have two writes, and the same one
// after them is a third.
func TestTwoCallersAtTwoReplicas(t *testing.T) {
	replicas(t, func(t *testing.T, p pair) {
		t.Helper()
		var both sync.WaitGroup
		for _, proxy := range []*Proxy{p.a, p.b} {
			both.Go(func() { wantReplayed(t, proxy.call("POST", deal, "{}"), false) })
		}
		both.Wait()
		synctest.Wait() // the store knows that both have their answers
		began := time.Now()
		wantReplayed(t, p.b.call("POST", deal, "{}"), false)
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("one after the other: took %v, want no wait for the other replica", took)
		}
		wantRan(t, p.sim, 3)
	}, "*:slow=900ms")
}

// Of calls with one key that come at the same time to two replicas one is sent, and all
// get its answer. A key of another call is refused at the other replica, too.
func TestIdempotencyKeyAtTwoReplicas(t *testing.T) {
	const keys, each = 20, 3
	replicas(t, func(t *testing.T, p pair) {
		t.Helper()
		var replayed atomic.Int32
		var all sync.WaitGroup
		for key := range keys {
			for i := range 2 * each {
				all.Go(func() {
					w := []*Proxy{p.a, p.b}[i%2].call("POST", deal, fmt.Sprint(key), "Idempotency-Key", fmt.Sprint(key))
					if w.Code != 200 {
						t.Errorf("got %d %s, want 200", w.Code, w.Body)
					}
					if w.Header().Get("Idempotent-Replayed") == "true" {
						replayed.Add(1)
					}
				})
			}
		}
		all.Wait()
		wantRan(t, p.sim, keys)
		if want := int32(keys * (2*each - 1)); replayed.Load() != want {
			t.Errorf("got %d replayed, want %d", replayed.Load(), want)
		}
		for _, proxy := range []*Proxy{p.a, p.b} {
			if w := proxy.call("POST", deal, "other", "Idempotency-Key", "0"); w.Code != 422 {
				t.Errorf("got %d %s, want 422 for another call", w.Code, w.Body)
			}
			time.Sleep(11 * time.Hour)
			wantReplayed(t, proxy.call("POST", deal, "1", "Idempotency-Key", "1"), true)
		}
		wantRan(t, p.sim, keys)
	}, "*:slow=900ms")
}

// The answer that another replica kept is the same as one that was kept here: status,
// header and body, also where that is compressed, and where it is the method's own error.
func TestAnswerOfAnotherReplica(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a success": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Odd"] = []string{"\xff\x80", "two"}
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte("{\"result\":\"\\u0000\xd0\xbf\"}\r\n"))
		},
		"an error of the method": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte(`{"error":"NOT_ENOUGH","error_description":"money"}`))
		},
		"a compressed one at 200": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(compress(t, "gzip", []byte(`{"error":"NOT_ENOUGH","error_description":"money"}`)))
		},
		"an empty one": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Second)
					answer(w, r)
				})
				proxies, _ := newReplicas(t, 2, portal, guarded)
				var got []*httptest.ResponseRecorder
				for _, p := range proxies {
					proxies[0].callFor(300*time.Millisecond, "{}")
					time.Sleep(time.Minute / 2)
					got = append(got, p.call("POST", deal, "{}", "X-Request-Id", "r"))
				}
				for _, w := range got {
					for _, name := range []string{"Server-Timing", "Ratelimit", "Ratelimit-Policy"} {
						w.Header().Del(name)
					}
				}
				here, there := got[0], got[1]
				if here.Header().Get("Idempotent-Replayed") != "true" {
					t.Fatalf("got %d %v, want it replayed", here.Code, here.Header())
				}
				if here.Code != there.Code || !reflect.DeepEqual(here.Header(), there.Header()) || !bytes.Equal(here.Body.Bytes(), there.Body.Bytes()) {
					t.Errorf("got %d %v %q, want %d %v %q", there.Code, there.Header(), there.Body, here.Code, here.Header(), here.Body)
				}
			})
		})
	}
}

// An answer that is too large to keep is not there for another replica either.
func TestLargeAnswerOfAnotherReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxies, _ := newReplicas(t, 2, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			fmt.Fprintf(w, `{"result":%q}`, strings.Repeat("x", 300<<10))
		}), guarded)
		proxies[0].callFor(300*time.Millisecond, "{}")
		time.Sleep(time.Second)
		wantHeld(t, proxies[1].call("POST", deal, "{}"), "too large to keep")
		time.Sleep(time.Hour)
	})
}

// A replica that dies while its call is with the portal leaves it in doubt: its client,
// who comes to the other replica at once, is not served by a second run.
func TestReplicaDiesWithACallUnderWay(t *testing.T) {
	replicas(t, func(t *testing.T, p pair) {
		t.Helper()
		go p.a.call("POST", deal, "{}")
		time.Sleep(200 * time.Millisecond)
		p.shared.writes.Kill("0")
		began := time.Now()
		wantHeld(t, p.b.call("POST", deal, "{}"), "the proxy was restarted meanwhile")
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("the answer took %v, want it soon after the replica counts as dead", took)
		}
		wantHeld(t, p.b.call("POST", deal, "{}"), "the proxy was restarted meanwhile")
		if n := p.sim.Arrived(); n != 1 {
			t.Errorf("got %d calls at the portal, want 1", n)
		}
		time.Sleep(time.Minute)
		wantReplayed(t, p.b.call("POST", deal, "{}"), false)
	}, "*:slow=10s")
}

// A call that a replica had not sent when it died is sent by the other one for the client
// who repeats it. If the replica was only frozen it does not send it any more.
func TestReplicaDiesWithACallThatWaits(t *testing.T) {
	for name, headers := range map[string][]string{"without a key": nil, "with a key": {"Idempotency-Key", "k"}} {
		t.Run(name, func(t *testing.T) {
			replicas(t, func(t *testing.T, p pair) {
				t.Helper()
				for range mostInFlight {
					go p.a.call("POST", "/rest/1/code/crm.deal.list", "{}")
				}
				time.Sleep(time.Millisecond)
				frozen := make(chan *httptest.ResponseRecorder)
				go func() { frozen <- p.a.call("POST", deal, "{}", headers...) }()
				time.Sleep(200 * time.Millisecond)
				p.shared.writes.Kill("0")
				wantReplayed(t, p.b.call("POST", deal, "{}", headers...), false)
				wantHeld(t, <-frozen, "another replica of the proxy has sent it")
				wantRan(t, p.sim, 1)
			}, "crm.deal.list:slow=20s")
		})
	}
}

// No call fails because the store is away. Each replica knows its own calls meanwhile,
// and the others know them when it is back.
func TestWritesWhileTheStoreIsAway(t *testing.T) {
	replicas(t, func(t *testing.T, p pair) {
		t.Helper()
		wantReplayed(t, p.a.call("POST", deal, "{}"), false)
		p.shared.writes.SetAway(true)
		p.a.callFor(300*time.Millisecond, `{"a":1}`)
		wantReplayed(t, p.a.call("POST", deal, `{"a":1}`), true)
		wantReplayed(t, p.b.call("POST", deal, `{"a":1}`), false)
		p.a.callFor(300*time.Millisecond, `{"a":2}`)
		time.Sleep(time.Second)
		p.shared.writes.SetAway(false)
		time.Sleep(time.Second)
		wantReplayed(t, p.b.call("POST", deal, `{"a":2}`), true)
		wantRan(t, p.sim, 4)

		p.a.callFor(300*time.Millisecond, `{"a":3}`)
		p.shared.writes.Flush()
		wantReplayed(t, p.a.call("POST", deal, `{"a":3}`), true)
		wantRan(t, p.sim, 5)
	}, "*:slow=900ms")
}

// Who waits for a call of another replica is told that it may have run when the store
// stays away.
func TestStoreLeavesWhoWaits(t *testing.T) {
	replicas(t, func(t *testing.T, p pair) {
		t.Helper()
		p.a.callFor(300*time.Millisecond, "{}")
		go func() {
			time.Sleep(time.Second)
			p.shared.writes.SetAway(true)
		}()
		wantHeld(t, p.b.call("POST", deal, "{}"), "the shared store is away")
		p.shared.writes.SetAway(false)
	}, "*:slow=20s")
}

// A write costs three requests to the store. With the guard off, and for a proxy that
// only observes, there are none; neither for what is no write.
func TestRequestsForAWrite(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*Config)
		target string
		want   int
	}{
		"a write":       {guarded, deal, 3},
		"a read":        {guarded, "/rest/1/code/crm.deal.list", 0},
		"the guard off": {nil, deal, 0},
		"observing":     {func(c *Config) { guarded(c); c.Observe = true }, deal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxies, shared := newReplicas(t, 2, simulate(t), c.edit)
				const calls = 20
				for i := range calls {
					proxies[i%2].call("POST", c.target, "{}")
					synctest.Wait()
				}
				if n := shared.writes.Requests(); n != c.want*calls {
					t.Errorf("got %d requests for %d calls, want %d each", n, calls, c.want)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// forgetful is a state file that keeps nothing but its key.
type forgetful struct{}

func (forgetful) Load(string) (t time.Time, found bool)    { return t, false }
func (forgetful) Save(string, time.Time, float64) error    { return nil }
func (forgetful) SaveNote(string, time.Time, string) error { return nil }
func (forgetful) RemoveNote(string) error                  { return nil }
func (forgetful) Notes() map[string]string                 { return nil }
func (forgetful) Key() []byte                              { return []byte("its own") }

// Replicas recognize each other's writes by the store's key, whatever key the state file
// of one of them has.
func TestReplicasHaveOneKeyOfSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := 0
		proxies, _ := newReplicas(t, 2, simulate(t, "*:slow=900ms"), func(c *Config) {
			guarded(c)
			if i++; i == 1 {
				c.StateFile = forgetful{}
			}
		})
		proxies[0].callFor(300*time.Millisecond, "{}")
		wantReplayed(t, proxies[1].call("POST", deal, "{}"), true)
		time.Sleep(time.Hour)
	})
}

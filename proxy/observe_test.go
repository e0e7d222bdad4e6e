package proxy

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/b24sim"
)

// traffic is what clients send, whatever comes of it.
type traffic []struct {
	client string
	from   time.Duration
	calls  int
	every  time.Duration
	length int // calls at once
}

// send sends the traffic, and returns when every call is answered.
func (c traffic) send(p *Proxy) {
	var all sync.WaitGroup
	for _, flow := range c {
		all.Go(func() {
			time.Sleep(flow.from)
			for range flow.calls {
				for range flow.length {
					all.Go(func() { p.call("POST", deal, "{}", "B24-Client", flow.client) })
				}
				time.Sleep(flow.every)
			}
		})
	}
	all.Wait()
}

// A verdict is what a proxy reports of a traffic.
type verdict struct {
	full, wait float64 // calls that were rejected, or would have been
	calls      float64 // that got a slot
	waited     float64 // seconds, all calls together
	rate       float64 // on average
	level      float64 // at its highest
	after      float64 // rejected two minutes later
}

// judge sends a traffic through a proxy, beside another program that sends so many
// calls per second to the same portal.
func judge(t *testing.T, observe bool, portal b24sim.Config, c traffic, other float64) (v verdict) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := b24sim.New(portal)
		p := newProxy(t, func(c *Config) { c.Observe, c.QueueDepth = observe, 40 }).behind(sim)
		stop := make(chan struct{})
		var watching sync.WaitGroup
		looks := 0
		watching.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
				s, found := p.limiter.State("acme.bitrix24.com")
				if found {
					looks++
					v.rate += s.Rate
					v.level = max(v.level, s.Level)
				}
			}
		})
		if other > 0 {
			watching.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(seconds64(1 / other)):
						sim.Spend(1)
					}
				}
			})
		}
		c.send(p)
		close(stop)
		watching.Wait()
		v.rate /= float64(looks)
		rejected := func(reason string) float64 {
			return p.metric(fmt.Sprintf(`b24proxy_rejected_total{portal="acme.bitrix24.com",reason=%q}`, reason))
		}
		wait := func(of string) float64 {
			return p.metric(`b24proxy_queue_wait_seconds_` + of + `{portal="acme.bitrix24.com",priority="normal"}`)
		}
		v.full, v.wait, v.calls, v.waited = rejected("queue_full"), rejected("queue_wait"), wait("count"), wait("sum")
		time.Sleep(2 * time.Minute)
		for range 10 {
			p.call("POST", deal, "{}", "Prefer", "wait=0")
		}
		v.after = rejected("queue_full") + rejected("queue_wait") - v.full - v.wait
		time.Sleep(time.Minute)
	})
	return v
}

func seconds64(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// What an observing proxy reports of a traffic is what an enforcing one does with it,
// within a tenth of the calls, and within a fifth where another program uses a part of
// the limit: the calls that are let go then show less of what is left.
func TestObservingReportsWhatEnforcingDoes(t *testing.T) {
	counting, forgiving := b24sim.Config{Rate: 2, Burst: 50, RefusedCount: true, Seed: 7}, b24sim.Config{Rate: 2, Burst: 50, Seed: 7}
	slow := counting
	slow.Latency = 3 * time.Second
	for name, c := range map[string]struct {
		portal    b24sim.Config
		traffic   traffic
		other     float64
		tolerance float64
	}{
		"within the limit":     {counting, traffic{{"a", 0, 60, time.Second, 1}}, 0, 0},
		"bursts":               {counting, traffic{{"a", 0, 5, 40 * time.Second, 100}}, 0, 0.1},
		"bursts of slow calls": {slow, traffic{{"a", 0, 5, 40 * time.Second, 100}}, 0, 0.1},
		// No quiet call comes at the instant of a greedy one, or chance would order them.
		"a greedy client beside a quiet one":                          {counting, traffic{{"greedy", 0, 20, 5 * time.Second, 30}, {"quiet", 1300 * time.Millisecond, 100, time.Second, 1}}, 0, 0.1},
		"twelve thousand calls to a portal that counts refused calls": {counting, traffic{{"a", 0, 12000, 50 * time.Millisecond, 1}}, 0, 0.1},
		"twelve thousand calls to a portal that does not":             {forgiving, traffic{{"a", 0, 12000, 50 * time.Millisecond, 1}}, 0, 0.1},
		"beside another program":                                      {forgiving, traffic{{"a", 0, 900, time.Second * 2 / 3, 1}}, 1, 0.2},
		"beside another program, within what is left":                 {counting, traffic{{"a", 0, 480, time.Second * 5 / 4, 1}}, 1, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			enforced, observed := judge(t, false, c.portal, c.traffic, c.other), judge(t, true, c.portal, c.traffic, c.other)
			t.Logf("enforcing: %+v", enforced)
			t.Logf("observing: %+v", observed)
			calls := enforced.full + enforced.wait + enforced.calls
			near := func(what string, a, b, whole float64) {
				if math.Abs(a-b) > c.tolerance*whole+1e-6 {
					t.Errorf("%s: observing got %.1f, want about %.1f as enforcing", what, b, a)
				}
			}
			near("calls", calls, observed.full+observed.wait+observed.calls, calls)
			near("queue_full", enforced.full, observed.full, calls)
			near("queue_wait", enforced.wait, observed.wait, calls)
			near("waits", enforced.waited, observed.waited, max(enforced.waited, enforced.calls))
			near("rate", enforced.rate, observed.rate, enforced.rate)
			if observed.level > 52 {
				t.Errorf("got a level of %.1f, want 52 at most", observed.level)
			}
			if observed.after != enforced.after {
				t.Errorf("two minutes later: observing got %v rejections, want %v as enforcing", observed.after, enforced.after)
			}
		})
	}
}

// An observing proxy delays and refuses no call, and counts what enforcing would have
// done.
func TestObservingCountsAndLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe = true; c.QueueDepth = 20 }).behind(b24sim.New(b24sim.Config{}))
		began := time.Now()
		for range 100 {
			if w := p.call("POST", deal, ""); w.Code != 200 {
				t.Fatalf("got %d %s, want 200", w.Code, w.Body)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("100 calls took %v, want no time", took)
		}
		if got := p.longestWait(t); got != 10 {
			t.Errorf("got a longest wait of %v s, want 10", got)
		}
		const portal = `portal="acme.bitrix24.com"`
		for series, want := range map[string]float64{
			`b24proxy_rejected_total{` + portal + `,reason="queue_full"}`:                   31,
			`b24proxy_requests_total{outcome="ok",` + portal + `,status_class="2xx"}`:       69,
			`b24proxy_requests_total{outcome="rejected",` + portal + `,status_class="2xx"}`: 31,
			`b24proxy_queue_wait_seconds_count{` + portal + `,priority="normal"}`:           69,
			`b24proxy_queue_wait_seconds_sum{` + portal + `,priority="normal"}`:             105, // 0.5 + 1 + … + 10
			`b24proxy_portal_requests_total{` + portal + `,status_class="2xx"}`:             100,
		} {
			if got := p.metric(series); got < want-0.1 || got > want+0.1 {
				t.Errorf("%s: got %v, want %v", series, got, want)
			}
		}
	})
}

// A call that would be rejected for its operating time would not enter the queue, so
// it takes nothing from the bucket.
func TestObservingCountsCallsHeldForTheirOperatingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe, c.OperatingLimit = true, 480*time.Second }).behind(slowLists(b24sim.OperatingDocumented, "40s"))
		for range 12 {
			p.call("POST", list, "")
		}
		for range 100 {
			p.call("POST", list, "")
		}
		const portal = `b24proxy_rejected_total{portal="acme.bitrix24.com",reason=`
		if operating, full := p.metric(portal+`"operating_time"}`), p.metric(portal+`"queue_full"}`)+p.metric(portal+`"queue_wait"}`); operating < 100 || full > 0 {
			t.Errorf("got %v rejections for operating time and %v by the queue, want 100 or more and none", operating, full)
		}
		if s, _ := p.limiter.State("acme.bitrix24.com"); s.Level > 0 {
			t.Errorf("got a level of %v, want 0", s.Level)
		}
	})
}

// With the guard off, an observing proxy counts no call as rejected for its operating
// time, also after the portal has refused the method.
func TestObservingWithoutTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe, c.OperatingLimit = true, 0 }).behind(simulate(t, "crm.deal.list:OPERATION_TIME_LIMIT"))
		for range 3 {
			p.call("POST", list, "", "Prefer", "wait=0")
		}
		if got := p.metric(`b24proxy_rejected_total{portal="acme.bitrix24.com",reason="operating_time"}`); got != 0 {
			t.Errorf("got %v rejections, want none", got)
		}
	})
}

// An observing proxy counts the wait for operating time that enforcing would add.
func TestObservingCountsTheWaitForOperatingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe = true; c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now().Unix()
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":479,"operating_reset_at":%d}}`, now, now+20)
		}))
		p.call("POST", list, "")
		p.call("POST", list, "")
		if got := p.longestWait(t); got != 20 {
			t.Errorf("got a longest wait of %v s, want 20", got)
		}
	})
}

// An observing proxy sends no call again.
func TestObservingSendsNoCallAgain(t *testing.T) {
	for reason, first := range map[string]answerer{"html": badPage, "reset": resetting} {
		t.Run(reason, func(t *testing.T) {
			var sent atomic.Int64
			p := newProxy(t, func(c *Config) { c.Observe = true }).behind(script(&sent, first))
			if w := p.call("POST", read, ""); sent.Load() != 1 || errorOf(t, w).Proxy.Reason != reason {
				t.Errorf("got it sent %d times and %d %s, want once and the reason %s", sent.Load(), w.Code, w.Body, reason)
			}
		})
	}
}

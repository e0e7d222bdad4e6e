package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
)

// slowLists simulates a portal where each list costs so much operating time.
func slowLists(mode b24sim.OperatingMode, cost string) *b24sim.Portal {
	return b24sim.New(b24sim.Config{
		Seed: 3, Operating: b24sim.Operating{Mode: mode, Limit: 480 * time.Second},
		Faults: []b24sim.Fault{must(b24sim.ParseFault("crm.deal.list:slow=" + cost))},
	})
}

const list = hook + "/crm.deal.list"

// A method that has used up its operating time is refused here until the reset.
// Other methods and other credentials go on. After the reset the method is served
// again.
func TestMethodIsHeldForItsOperatingTime(t *testing.T) {
	for name, mode := range map[string]b24sim.OperatingMode{
		"on the documented server":        b24sim.OperatingDocumented,
		"on the newer server, which bans": b24sim.OperatingBanning,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := slowLists(mode, "40s")
				p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second; c.Plan = limiter.Unlimited }).behind(portal)
				w, served := p.call("POST", list, ""), 0
				for ; w.Code == 200 && served < 100; served++ {
					w = p.call("POST", list, "")
				}
				if served < 10 || served > 12 {
					t.Errorf("got %d calls of 40 s served within 480 s, want 10 to 12", served)
				}
				e := errorOf(t, w)
				if w.Code != 429 || e.Error != "OPERATION_TIME_LIMIT" || e.Proxy.Source != "proxy" || e.Proxy.Reason != "operating_time" || e.Proxy.Executed != "no" {
					t.Errorf("got %d %+v, want 429 OPERATION_TIME_LIMIT of the proxy, reason operating_time, not executed", w.Code, e)
				}
				after := must(time.ParseDuration(w.Header().Get("Retry-After") + "s"))
				if after < time.Minute || after > 10*time.Minute {
					t.Errorf("got a Retry-After of %v, want 1 to 10 minutes", after)
				}
				for _, c := range portal.Calls() {
					if c.Status == 429 {
						t.Error("the portal refused a call, want none refused there")
					}
				}
				for name, path := range map[string]string{"another method": hook + "/crm.contact.list", "another webhook": "/rest/1/otherhook00000/crm.deal.list"} {
					if w := p.call("POST", path, ""); w.Code != 200 {
						t.Errorf("%s: got %d %s, want 200", name, w.Code, w.Body)
					}
				}
				if r := p.budgets.Ratio(time.Now(), "acme.bitrix24.com"); r < 0.8 {
					t.Errorf("got a ratio of %v, want 0.8 or more", r)
				}
				time.Sleep(10 * time.Minute)
				if w := p.call("POST", list, ""); w.Code != 200 {
					t.Errorf("after the reset: got %d %s, want 200", w.Code, w.Body)
				}
			})
		})
	}
}

// A call waits for a reset that comes within the time that it accepts.
func TestCallWaitsForTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(used float64) string {
			now := time.Now().Unix()
			return fmt.Sprintf(`{"result":1,"time":{"finish":%d,"operating":%v,"operating_reset_at":%d}}`, now, used, now+20)
		}
		used := 479.0
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, answer(used))
			used = 10
		}))
		p.call("POST", list, "")
		began := time.Now()
		if w := p.call("POST", list, "", "Prefer", "wait=10"); w.Code != 429 || time.Since(began) > 0 {
			t.Errorf("a call that accepts 10 s: got %d after %v, want 429 at once", w.Code, time.Since(began))
		}
		if w := p.call("POST", list, ""); w.Code != 200 || time.Since(began) < 20*time.Second {
			t.Errorf("a call that accepts 25 s: got %d after %v, want 200 after 20s", w.Code, time.Since(began))
		}
	})
}

// After a 429 of the portal itself the method is held, and no other.
func TestMethodThatThePortalRefusesIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "crm.deal.list:OPERATION_TIME_LIMIT:first=1")
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
		w := p.call("POST", list, "")
		if e := errorOf(t, w); w.Code != 429 || e.Proxy.Source != "portal" || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %+v %v, want 429 of the portal with a Retry-After", w.Code, e, w.Header())
		}
		if e := errorOf(t, p.call("POST", list, "")); e.Proxy.Source != "proxy" {
			t.Errorf("the next call: got %+v, want an error of the proxy", e)
		}
		if w := p.call("POST", deal, ""); w.Code != 200 {
			t.Errorf("another method: got %d, want 200", w.Code)
		}
		time.Sleep(2 * time.Minute)
		if w := p.call("POST", list, ""); w.Code != 200 {
			t.Errorf("the probe: got %d %s, want 200", w.Code, w.Body)
		}
	})
}

// As many calls of a portal wait for operating time as may wait for slots. A caller
// who leaves makes room for another, and its call is not sent.
func TestFewCallsWaitForTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second; c.QueueDepth = 2 }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent++
			now := time.Now().Unix()
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":479,"operating_reset_at":%d}}`, now, now+20)
		}))
		p.call("POST", list, "")
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			go p.callContext(ctx, "POST", list, "")
		}
		synctest.Wait()
		if e := errorOf(t, p.call("POST", list, "")); e.Proxy.Reason != "queue_full" {
			t.Errorf("the third call: got the reason %q, want queue_full", e.Proxy.Reason)
		}
		leave()
		synctest.Wait()
		if sent != 1 {
			t.Errorf("got %d calls at the portal, want 1: the other callers have left", sent)
		}
		if w := p.call("POST", list, ""); w.Code != 200 {
			t.Errorf("afterwards: got %d %s, want 200", w.Code, w.Body)
		}
	})
}

// A portal that is blocked as a whole gets one call a minute. The other calls are
// refused here, until it gives another answer.
func TestBlockedPortalGetsOneCallAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "*:OVERLOAD_LIMIT")
		p := newProxy(t, nil).behind(portal)
		if e := errorOf(t, p.call("POST", deal, "")); e.Error != "OVERLOAD_LIMIT" || e.Proxy.Source != "portal" {
			t.Errorf("got %+v, want OVERLOAD_LIMIT of the portal", e)
		}
		for range 30 {
			w := p.call("POST", deal, "")
			e := errorOf(t, w)
			if w.Code != 503 || e.Error != "OVERLOAD_LIMIT" || e.Proxy.Retryable || e.Proxy.Executed != "no" {
				t.Fatalf("got %d %+v, want 503 OVERLOAD_LIMIT, not executed and not to be repeated", w.Code, e)
			}
			time.Sleep(10 * time.Second)
		}
		if n := portal.Arrived(); n < 5 || n > 6 {
			t.Errorf("got %d calls in five minutes, want 5 or 6", n)
		}
		portal.SetFaults()
		time.Sleep(time.Minute)
		for range 3 {
			if w := p.call("POST", deal, ""); w.Code != 200 {
				t.Errorf("afterwards: got %d %s, want 200", w.Code, w.Body)
			}
		}
	})
}

// Beside a client with 400 calls in the queue, a quiet client waits for three slots at
// most.
func TestQuietClientDoesNotWaitBehindAGreedyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.QueueWait = time.Hour }).behind(simulate(t))
		for range 449 {
			go p.call("POST", deal, "", "B24-Client", "greedy")
		}
		synctest.Wait()
		for range 40 {
			began := time.Now()
			p.call("POST", deal, "", "B24-Client", "quiet")
			if waited := time.Since(began); waited > 1500*time.Millisecond {
				t.Errorf("it waited %v, want 1.5 s at most", waited)
			}
			time.Sleep(1300 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
	})
}

// A call that does not wait gets a slot while one is due, and is then rejected for its
// wait, not for operating time.
func TestCallThatDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(good)
		for i := range 50 {
			w := p.call("POST", deal, "", "Prefer", "wait=0")
			switch {
			case i < 49 && w.Code != 200:
				t.Fatalf("call %d: got %d %s, want 200", i, w.Code, w.Body)
			case i == 49 && errorOf(t, w).Proxy.Reason != "queue_wait":
				t.Errorf("call %d: got %d %s, want the reason queue_wait", i, w.Code, w.Body)
			}
		}
	})
}

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

// slowLists is a portal whose lists take so long each.
func slowLists(mode b24sim.OperatingMode, cost string) *b24sim.Portal {
	return b24sim.New(b24sim.Config{
		Seed: 3, Operating: b24sim.Operating{Mode: mode, Limit: 480 * time.Second},
		Faults: []b24sim.Fault{must(b24sim.ParseFault("crm.deal.list:slow=" + cost))},
	})
}

const list = hook + "/crm.deal.list"

// Under either generation of the server a method that has spent its time is
// answered here until the reset, other methods and other credentials go on, and
// after the reset it is served again.
func TestOperatingGuard(t *testing.T) {
	for _, mode := range []b24sim.OperatingMode{b24sim.OperatingDocumented, b24sim.OperatingBanning} {
		synctest.Test(t, func(t *testing.T) {
			portal := slowLists(mode, "40s")
			p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second; c.Plan = limiter.Unlimited }).behind(portal)
			served := 0
			for served < 100 {
				w := p.call("POST", list, "")
				if w.Code == 200 {
					served++
					continue
				}
				e := tell(t, w)
				if w.Code != 429 || e.Error != "OPERATION_TIME_LIMIT" || e.Proxy.Source != "proxy" || e.Proxy.Reason != "operating_time" || e.Proxy.Executed != "no" {
					t.Fatalf("%d %+v", w.Code, e)
				}
				after := must(time.ParseDuration(w.Header().Get("Retry-After") + "s"))
				if after < time.Minute || after > 10*time.Minute {
					t.Fatalf("Retry-After %v", after)
				}
				break
			}
			if served < 10 || served > 12 {
				t.Errorf("%v: %d calls of 40 s were served within 480 s", mode, served)
			}
			for _, c := range portal.Calls() {
				if c.Status == 429 {
					t.Errorf("%v: the portal had to block", mode)
				}
			}
			for name, path := range map[string]string{"another method": hook + "/crm.contact.list", "another webhook": "/rest/1/otherhook00000/crm.deal.list"} {
				if w := p.call("POST", path, ""); w.Code != 200 {
					t.Errorf("%v: %s: %d %s", mode, name, w.Code, w.Body)
				}
			}
			if r := p.budgets.Ratio(time.Now(), "acme.bitrix24.com"); r < 0.8 {
				t.Errorf("%v: ratio %v", mode, r)
			}
			time.Sleep(10 * time.Minute)
			if w := p.call("POST", list, ""); w.Code != 200 {
				t.Errorf("%v: after the reset: %d %s", mode, w.Code, w.Body)
			}
		})
	}
}

// A reset that comes within the caller's wait is waited for.
func TestOperatingGuardHolds(t *testing.T) {
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
			t.Errorf("with a patience of 10 s: %d after %v", w.Code, time.Since(began))
		}
		if w := p.call("POST", list, ""); w.Code != 200 || time.Since(began) < 20*time.Second {
			t.Errorf("with a patience of 25 s: %d after %v", w.Code, time.Since(began))
		}
	})
}

// After a 429 of the portal itself the method waits; nothing else does.
func TestPortalsOwnOperatingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "crm.deal.list:OPERATION_TIME_LIMIT:first=1")
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
		w := p.call("POST", list, "")
		if e := tell(t, w); w.Code != 429 || e.Proxy.Source != "portal" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %+v %v", w.Code, e, w.Header())
		}
		if e := tell(t, p.call("POST", list, "")); e.Proxy.Source != "proxy" {
			t.Errorf("%+v", e)
		}
		if w := p.call("POST", deal, ""); w.Code != 200 {
			t.Errorf("another method: %d", w.Code)
		}
		time.Sleep(2 * time.Minute)
		if w := p.call("POST", list, ""); w.Code != 200 {
			t.Errorf("the probe: %d %s", w.Code, w.Body)
		}
	})
}

// As many calls of a portal are held for operating time as may wait for slots;
// those who leave make room and send nothing.
func TestOperatingGuardHoldsABoundedNumber(t *testing.T) {
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
		if e := tell(t, p.call("POST", list, "")); e.Proxy.Reason != "queue_full" {
			t.Errorf("the third is refused with %q", e.Proxy.Reason)
		}
		leave()
		synctest.Wait()
		if sent != 1 {
			t.Errorf("%d were sent, want 1: the others have left", sent)
		}
		if w := p.call("POST", list, ""); w.Code != 200 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}

// A portal blocked as a whole is left alone but for a call a minute, those who
// wait are told, and the first other answer opens it.
func TestOverloadOpensTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "*:OVERLOAD_LIMIT")
		p := newProxy(t, nil).behind(portal)
		if e := tell(t, p.call("POST", deal, "")); e.Error != "OVERLOAD_LIMIT" || e.Proxy.Source != "portal" {
			t.Errorf("%+v", e)
		}
		for range 30 {
			w := p.call("POST", deal, "")
			e := tell(t, w)
			if w.Code != 503 || e.Error != "OVERLOAD_LIMIT" || e.Proxy.Retryable || e.Proxy.Executed != "no" {
				t.Fatalf("%d %+v", w.Code, e)
			}
			time.Sleep(10 * time.Second)
		}
		if n := portal.Arrived(); n < 5 || n > 6 {
			t.Errorf("%d calls in five minutes", n)
		}
		portal.SetFaults()
		time.Sleep(time.Minute)
		for range 3 {
			if w := p.call("POST", deal, ""); w.Code != 200 {
				t.Errorf("afterwards: %d %s", w.Code, w.Body)
			}
		}
	})
}

// A quiet client beside one with 400 queued calls waits three slots at most.
func TestQuietClient(t *testing.T) {
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
				t.Errorf("waited %v", waited)
			}
			time.Sleep(1300 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
	})
}

// Without patience a slot that is there is still given, with the guard of
// operating time on; and then the queue is what is too long.
func TestWithoutPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(good)
		for i := range 50 {
			w := p.call("POST", deal, "", "Prefer", "wait=0")
			switch {
			case i < 49 && w.Code != 200:
				t.Fatalf("call %d: %d %s", i, w.Code, w.Body)
			case i == 49 && tell(t, w).Proxy.Reason != "queue_wait":
				t.Errorf("call %d: %d %s", i, w.Code, w.Body)
			}
		}
	})
}

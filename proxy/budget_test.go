package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
	"b24proxy/proxy/bitrix24"
)

// operating is a portal whose lists take so long each.
func operating(mode b24sim.OperatingMode, cost string) *b24sim.Portal {
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
			portal := operating(mode, "40s")
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
		if n := len(p.reverse.Transport.(*transport).holders.n); n != 1 {
			t.Errorf("calls of %d portals are held", n)
		}
		leave()
		synctest.Wait()
		if n := len(p.reverse.Transport.(*transport).holders.n); n != 0 || sent != 1 {
			t.Errorf("calls of %d portals are held, %d were sent, though all have left", n, sent)
		}
		if w := p.call("POST", list, ""); w.Code != 200 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}

// A place is free for each call that has left, and a portal without calls is
// forgotten.
func TestHolders(t *testing.T) {
	h := newHolders(2)
	if !h.enter("a") || !h.enter("a") || h.enter("a") || !h.enter("b") {
		t.Fatal("want two of each portal")
	}
	h.leave("a")
	if !h.enter("a") || h.enter("a") {
		t.Error("want one more after one has left")
	}
	for _, portal := range []string{"a", "a", "b"} {
		h.leave(portal)
	}
	if len(h.n) != 0 {
		t.Errorf("%v are kept", h.n)
	}
}

// A blocked method stays blocked after an answer that says the call did not run,
// or none, and is open after one that ran.
func TestOnlyACallThatRanOpensAMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []struct {
			status  int
			body    string
			blocked float64
		}{
			{429, `{"error":"OPERATION_TIME_LIMIT"}`, 1},
			{401, `{"error":"expired_token"}`, 1},
			{0, "", 1},
			{200, `{"result":1}`, 0},
		}
		var now int
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answers[now].status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(answers[now].status)
			io.WriteString(w, answers[now].body)
		}))
		for now = range answers {
			p.call("POST", deal, "")
			if r := p.budgets.Ratio(time.Now(), "acme.bitrix24.com"); r != answers[now].blocked {
				t.Errorf("after %d %s the ratio is %v", answers[now].status, answers[now].body, r)
			}
			for _, s := range p.budgets.List(time.Now(), "acme.bitrix24.com", 10) {
				if s.UnderWay > 0 {
					t.Errorf("after %d %s a call is under way", answers[now].status, answers[now].body)
				}
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// A batch teaches of its commands whether it tells only errors or only times.
func TestBatchTeachesOfErrorsOrTimes(t *testing.T) {
	for name, inside := range map[string]string{
		"errors": `"result_error":{"a":{"error":"OPERATION_TIME_LIMIT"}},"result_time":[]`,
		"times":  `"result_error":[],"result_time":{"a":{"operating":479}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, `{"result":{"result":[],`+inside+`}}`)
				}))
				p.call("POST", hook+"/batch", `{"cmd":{"a":"crm.deal.list"}}`)
				if w := p.call("POST", list, ""); w.Code != 429 {
					t.Errorf("the method goes on: %d", w.Code)
				}
			})
		})
	}
}

// The name of an application is kept up to a bound.
func TestApplicationNamesAreBounded(t *testing.T) {
	token := bitrix24.Credential{Kind: "oauth", ID: "1"}
	a := newApplications()
	if a.learn(token, strings.Repeat("a", 129)); a.of(token) != "oauth 1" {
		t.Errorf("a name of 129 bytes is kept: %s", a.of(token))
	}
	if a.learn(token, strings.Repeat("a", 128)); a.of(token) == "oauth 1" {
		t.Error("a name of 128 bytes is not kept")
	}
}

// What a batch tells of its commands closes their methods.
func TestBatchTeachesOfItsCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"result":{"result":{"a":[],"b":[]},"result_error":{"c":{"error":"OPERATION_TIME_LIMIT"}},"result_total":[],"result_next":[],`+
				`"result_time":{"a":{"finish":%d,"operating":479,"operating_reset_at":%d},"b":{"operating":3}}},"time":{}}`, now, now+300)
		}))
		if w := p.call("POST", hook+"/batch", `{"cmd":{"a":"crm.deal.list?start=50","b":"user.get","c":"crm.contact.list"}}`); w.Code != 200 {
			t.Fatalf("%d", w.Code)
		}
		for method, want := range map[string]int{"crm.deal.list": 429, "user.get": 200, "crm.contact.list": 429, "batch": 200} {
			if w := p.call("POST", hook+"/"+method, ""); w.Code != want {
				t.Errorf("%s: %d, want %d", method, w.Code, want)
			}
		}
	})
}

// OAuth tokens share the budget of the application behind them.
func TestTokensOfOneApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Bitrix-Rest-Application", "app."+r.URL.Query().Get("auth")[:1])
			used := 10
			if r.URL.Path == "/rest/crm.deal.list" {
				used = 479
			}
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":%d,"operating_reset_at":%d}}`, now, used, now+300)
		}))
		for _, token := range []string{"a1", "a2", "b1"} {
			p.call("POST", "/rest/user.get?auth="+token, "") // makes the application known
		}
		p.call("POST", "/rest/crm.deal.list?auth=a1", "")
		for token, want := range map[string]int{"a2": 429, "b1": 200} {
			if w := p.call("POST", "/rest/crm.deal.list?auth="+token, ""); w.Code != want {
				t.Errorf("%s: %d, want %d", token, w.Code, want)
			}
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

// An observing proxy holds nothing and refuses nothing, and counts what it
// would have done.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe = true; c.QueueDepth = 20 }).behind(b24sim.New(b24sim.Config{}))
		began := time.Now()
		for range 100 {
			if w := p.call("POST", deal, ""); w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if time.Since(began) > 0 {
			t.Error("a call waited")
		}
		if s := p.status().Portals[0].LastMinute; s.LongestWaitSeconds != 10 {
			t.Errorf("the longest wait would have been %v s", s.LongestWaitSeconds)
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
				t.Errorf("%s = %v, want %v", series, got, want)
			}
		}
	})
}

// A call that would be refused for its operating time would not get into the
// queue, so it takes nothing of the bucket.
func TestObserveOperatingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe, c.OperatingLimit = true, 480*time.Second }).behind(operating(b24sim.OperatingDocumented, "40s"))
		for range 12 {
			p.call("POST", list, "")
		}
		for range 100 {
			p.call("POST", list, "")
		}
		const portal = `b24proxy_rejected_total{portal="acme.bitrix24.com",reason=`
		if operating, full := p.metric(portal+`"operating_time"}`), p.metric(portal+`"queue_full"}`)+p.metric(portal+`"queue_wait"}`); operating < 100 || full > 0 {
			t.Errorf("%v would be refused for operating time, %v by the queue", operating, full)
		}
		if s, _ := p.limiter.State("acme.bitrix24.com"); s.Level > 0 {
			t.Errorf("level %v", s.Level)
		}
	})
}

// An observing proxy counts the wait for operating time that it spares.
func TestObserveCountsTheGuardsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Observe = true; c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now().Unix()
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":479,"operating_reset_at":%d}}`, now, now+20)
		}))
		p.call("POST", list, "")
		p.call("POST", list, "")
		if s := p.status().Portals[0].LastMinute; s.LongestWaitSeconds != 20 {
			t.Errorf("the longest wait would have been %v s, want 20", s.LongestWaitSeconds)
		}
	})
}

// An idempotency key has 1 to 255 printable characters.
func TestHasIdempotencyKey(t *testing.T) {
	for key, want := range map[string]bool{
		"": false, "a": true, " ~": true, "a\x1f": false, "a\x7f": false, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := hasIdempotencyKey(http.Header{"Idempotency-Key": {key}}); got != want {
			t.Errorf("%.10q of %d: %v, want %v", key, len(key), got, want)
		}
	}
}

// A version 3 write with an idempotency key may be sent again; in version 2 the
// key means nothing.
func TestIdempotencyKey(t *testing.T) {
	for path, sent := range map[string]int{"/rest/api/tasks.task.add": 2, "/rest/tasks.task.add": 1, "/rest/api/batch": 1} {
		n := 0
		p := newProxy(t, nil).behind(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n++
			panic(http.ErrAbortHandler)
		}))
		w := p.call("POST", path, "{}", "Idempotency-Key", "key-1")
		if e := tell(t, w); w.Code != 500 || e.Proxy.Retryable != (sent == 2) || n != sent {
			t.Errorf("%s: %d %+v, sent %d times", path, w.Code, e, n)
		}
	}
}

// A caller may repeat a version 3 write with an idempotency key whatever became
// of it, and no other write.
func TestIdempotencyKeyMakesRetryable(t *testing.T) {
	for path, want := range map[string]bool{"/rest/api/tasks.task.add": true, "/rest/tasks.task.add": false} {
		p := newProxy(t, nil).behind(fixed(502, "text/html", []byte("<html>")))
		if e := tell(t, p.call("POST", path, "{}", "Idempotency-Key", "key-1")); e.Proxy.Retryable != want || e.Proxy.Executed != "unknown" {
			t.Errorf("%s: %+v", path, e)
		}
	}
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

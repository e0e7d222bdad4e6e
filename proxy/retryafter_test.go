package proxy

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// Each caller who finds no place in the queue is asked to come again when one opens:
// after 1 to 60 s, later than the callers before, and in each second no more of them
// than places that open in it.
func TestRetryAfterIsSpread(t *testing.T) {
	oneSecond := []string{"Prefer", "wait=1"}
	for name, c := range map[string]struct {
		plan     limiter.Plan
		inFlight int
		every    time.Duration
		calls    int
		body     string // a call with one is rejected before it is read
		headers  []string
		reason   limiter.Reason
		rejected int
		last     int // Retry-After
		rate     int // places per second
	}{
		"at once, by a full queue":             {plan: limiter.Standard, calls: 491, reason: limiter.QueueFull, rejected: 437, last: 60, rate: 2},
		"at once, with a body":                 {plan: limiter.Standard, calls: 491, body: "{}", reason: limiter.QueueFull, rejected: 437, last: 60, rate: 2},
		"at once, without waiting":             {plan: limiter.Standard, calls: 249, headers: []string{"Prefer", "wait=0"}, reason: limiter.QueueWait, rejected: 200, last: 60, rate: 2},
		"at once, for their wait":              {plan: limiter.Standard, calls: 111, headers: oneSecond, reason: limiter.QueueWait, rejected: 60, last: 31, rate: 2},
		"on the Enterprise plan":               {plan: limiter.Enterprise, calls: 451, reason: limiter.QueueFull, rejected: 200, last: 41, rate: 5},
		"one after the other, for their wait":  {plan: limiter.Standard, calls: 49 + 300, every: 50 * time.Millisecond, headers: oneSecond, reason: limiter.QueueWait, rejected: 266, last: 60, rate: 2},
		"by a portal that takes few at a time": {inFlight: 2, calls: 47, reason: limiter.QueueFull, rejected: 40, last: 20, rate: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(cfg *Config) { cfg.Plan, cfg.InFlight, cfg.QueueDepth = c.plan, c.inFlight, 5 }).behind(slow(3 * time.Second))
				afters := make(chan int, c.calls)
				call := func() {
					w := p.call("POST", deal, c.body, c.headers...)
					if w.Code == http.StatusOK {
						return
					}
					if e := errorOf(t, w); e.Proxy.Reason != string(c.reason) {
						t.Errorf("got %d %+v, want the reason %s", w.Code, e, c.reason)
					}
					afters <- must(strconv.Atoi(w.Header().Get("Retry-After")))
				}
				for range c.calls {
					go call()
					synctest.Wait() // they are rejected in this order, though at the same instant
					time.Sleep(c.every)
				}
				n, before, same := len(afters), 1, 0
				if n != c.rejected {
					t.Errorf("got %d rejected, want %d", n, c.rejected)
				}
				for range n {
					after := <-afters
					if same++; after != before {
						same = 1
					}
					switch {
					case after < before || after > 60:
						t.Errorf("got a Retry-After of %d after one of %d, want no less and 60 at most", after, before)
					case after < 60 && same > c.rate+1:
						t.Errorf("got %d calls that come again after %d s, want %d at most", same, after, c.rate+1)
					}
					before = after
				}
				if before < c.last-1 || before > c.last {
					t.Errorf("the last call: got a Retry-After of %d, want %d", before, c.last)
				}
				time.Sleep(time.Minute)
				if w := p.call("POST", deal, c.body, c.headers...); w.Code != http.StatusOK {
					t.Errorf("a minute later: got %d %s, want 200", w.Code, w.Body)
				}
			})
		})
	}
}

// slow is a portal that takes so long for each call and refuses none.
func slow(took time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(took)
		w.Write([]byte(`{"result":[],"time":{}}`))
	})
}

// Retry-After is from 1 to 60 seconds, and what is spread is spread by a fifth.
func TestTimesToTryAgain(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{0: time.Second, 30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
		if got := soon(d); got != want {
			t.Errorf("soon(%v) = %v, want %v", d, got, want)
		}
	}
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(10 * time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 10*time.Second || least > 10500*time.Millisecond || most < 11500*time.Millisecond || most > 12*time.Second {
		t.Errorf("10 s are spread from %v to %v", least, most)
	}
}

// Retry-After and retryable say the same: an error has the header if, and only if,
// repeating the call may help, whatever header the portal sent.
func TestRetryAfterAgreesWithRetryable(t *testing.T) {
	for name, c := range map[string]struct {
		target, retryAfter string
		want               bool
	}{
		"a write that may have run, of which the portal asks to come again": {deal, "120", false},
		"a write that may have run":                                         {deal, "", false},
		"a read of which the portal asks to come again":                     {read, "7", true},
		"a read": {read, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				badPage(w, r)
			}))
			w := p.call("POST", c.target, "")
			got := w.Header().Get("Retry-After")
			if e := errorOf(t, w); e.Proxy.Retryable != c.want || (got != "") != c.want || c.want && c.retryAfter != "" && got != c.retryAfter {
				t.Errorf("got retryable %v and Retry-After %q, want %v and the same", e.Proxy.Retryable, got, c.want)
			}
		})
	}
}

package proxy

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// Whoever is refused for want of a place comes again when one opens for him:
// later than those who were refused before, after 1 to 60 s, and no more of them
// in a second than places open in it.
func TestRetryAfterIsSpread(t *testing.T) {
	impatient := []string{"Prefer", "wait=1"}
	for name, c := range map[string]struct {
		plan     limiter.Plan
		inFlight int
		every    time.Duration
		calls    int
		body     string // where there is one, it is refused before that is read
		headers  []string
		reason   limiter.Reason
		refused  int
		last     int // Retry-After
		rate     int // places a second
	}{
		"at once, by a full queue":             {plan: limiter.Standard, calls: 491, reason: limiter.QueueFull, refused: 437, last: 60, rate: 2},
		"at once, with a body":                 {plan: limiter.Standard, calls: 491, body: "{}", reason: limiter.QueueFull, refused: 437, last: 60, rate: 2},
		"at once, without patience":            {plan: limiter.Standard, calls: 249, headers: []string{"Prefer", "wait=0"}, reason: limiter.QueueWait, refused: 200, last: 60, rate: 2},
		"at once, for their wait":              {plan: limiter.Standard, calls: 111, headers: impatient, reason: limiter.QueueWait, refused: 60, last: 31, rate: 2},
		"on the Enterprise plan":               {plan: limiter.Enterprise, calls: 451, reason: limiter.QueueFull, refused: 200, last: 41, rate: 5},
		"one after the other, for their wait":  {plan: limiter.Standard, calls: 49 + 300, every: 50 * time.Millisecond, headers: impatient, reason: limiter.QueueWait, refused: 266, last: 60, rate: 2},
		"by a portal that takes few at a time": {inFlight: 2, calls: 47, reason: limiter.QueueFull, refused: 40, last: 20, rate: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(cfg *Config) { cfg.Plan, cfg.InFlight, cfg.QueueDepth = c.plan, c.inFlight, 5 }).behind(slow(3 * time.Second))
				told := make(chan int, c.calls)
				call := func() {
					w := p.call("POST", deal, c.body, c.headers...)
					if w.Code == http.StatusOK {
						return
					}
					if e := tell(t, w); e.Proxy.Reason != string(c.reason) {
						t.Errorf("%d %+v", w.Code, e)
					}
					told <- must(strconv.Atoi(w.Header().Get("Retry-After")))
				}
				for range c.calls {
					go call()
					synctest.Wait() // refused in order, if at the same instant
					time.Sleep(c.every)
				}
				n, before, same := len(told), 1, 0
				if n != c.refused {
					t.Errorf("%d were refused, want %d", n, c.refused)
				}
				for range n {
					after := <-told
					if same++; after != before {
						same = 1
					}
					switch {
					case after < before || after > 60:
						t.Errorf("%d s after %d s", after, before)
					case after < 60 && same > c.rate+1:
						t.Errorf("%d come again after %d s", same, after)
					}
					before = after
				}
				if before < c.last-1 || before > c.last {
					t.Errorf("the last comes again after %d s, want %d", before, c.last)
				}
				time.Sleep(time.Minute)
				if w := p.call("POST", deal, c.body, c.headers...); w.Code != http.StatusOK {
					t.Errorf("a minute later: %d %s", w.Code, w.Body)
				}
			})
		})
	}
}

// slow is a portal that takes its time and refuses nothing.
func slow(took time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(took)
		w.Write([]byte(`{"result":[],"time":{}}`))
	})
}

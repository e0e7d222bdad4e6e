package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A caller is one of the random callers below: when it comes, who it is, how long it
// stays, and what happens to its call on the way.
type caller struct {
	at, leaves, wait, there, back time.Duration
	client                        string
	urgency                       int
	unsent                        bool
}

var callers = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) caller {
	ms := func(name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
	}
	return caller{
		at: ms("at", 30_000), leaves: ms("leaves", 60_000), wait: ms("wait", 40_000), there: ms("there", 500), back: ms("back", 400),
		client:  rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client"),
		urgency: rapid.IntRange(0, 7).Draw(t, "urgency"),
		unsent:  rapid.IntRange(0, 9).Draw(t, "unsent") == 0,
	}
}), 1, 150)

// Whatever the arrivals, cancellations, urgencies, delays and slots given back: every
// caller gets one answer in time; the strictest upstream refuses no call, whatever
// its phase, unless another program spends its limit too; and nothing is left over
// in the end.
func TestLimiterProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := callers.Draw(rt, "callers")
		plan := rapid.SampledFrom([]Plan{Standard, Enterprise, {Rate: 1, Burst: 3}}).Draw(rt, "plan")
		phase := time.Duration(rapid.IntRange(1, 999).Draw(rt, "phase")) * time.Millisecond
		other := rapid.Bool().Draw(rt, "another program")
		var failures []string
		synctest.Test(t, func(t *testing.T) { failures = play(t, all, plan, phase, other) })
		for _, f := range failures {
			rt.Error(f)
		}
	})
}

// play runs the callers against an upstream and returns what went wrong.
func play(t *testing.T, all []caller, plan Plan, phase time.Duration, other bool) (failures []string) {
	t.Helper()
	l := New(Config{Plan: func(string) Plan { return plan }, Depth: 40})
	var mu sync.Mutex
	upstream := counter{plan: plan, tick: time.Now().Add(phase)}
	arrive := func() (refused bool) {
		mu.Lock()
		defer mu.Unlock()
		return upstream.arrive(time.Now())
	}
	fail := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, fmt.Sprintf(format, args...))
	}
	var done sync.WaitGroup
	for _, c := range all {
		done.Go(func() {
			time.Sleep(c.at)
			ctx, cancel := context.WithTimeout(t.Context(), c.leaves)
			defer cancel()
			began := time.Now()
			r := Request{Upstream: "u", Client: c.client, Urgency: c.urgency, Wait: c.wait}
			for {
				s, err := l.Acquire(ctx, r)
				if waited := time.Since(began); waited > min(c.wait, c.leaves) {
					fail("a caller waited %v, want %v at most", waited, min(c.wait, c.leaves))
				}
				var rejected *Rejection
				switch {
				case err == nil:
				case errors.As(err, &rejected) && rejected.RetryAfter >= 0, errors.Is(err, context.DeadlineExceeded):
					return
				default:
					fail("a caller got %v, want a slot, a rejection or its own deadline", err)
					return
				}
				if c.unsent {
					s.Unsent()
					return
				}
				time.Sleep(c.there)
				refused := arrive()
				time.Sleep(c.back)
				if !refused {
					s.Answered(Accepted)
					return
				}
				s.Answered(Refused)
				if !other {
					fail("the upstream refused a call, want none refused without another program")
				}
				r.Refused, r.Wait = true, c.wait-time.Since(began)
				if r.Wait < 0 || ctx.Err() != nil {
					return
				}
			}
		})
	}
	if other {
		done.Go(func() {
			for range 30 {
				time.Sleep(time.Second)
				arrive()
			}
		})
	}
	done.Wait()
	time.Sleep(10 * time.Minute) // everything drains
	for _, s := range l.States() {
		if s.Level != 0 || s.Waiting != [urgencies]int{} || s.Rate != plan.Rate {
			fail("at rest: got %+v, want an empty bucket and queue", s)
		}
	}
	return failures
}

// Clients with a backlog get equal shares, however many calls they have queued, and
// the urgencies of a client share by weight: in a minute of the standard plan no
// client is off by more than a call.
func TestLimiterShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		ctx, leave := context.WithCancel(t.Context())
		var mu sync.Mutex
		served := map[string]int{}
		call := func(client string, urgency int) {
			if send(ctx, l, Request{Upstream: "u", Client: client, Urgency: urgency, Wait: time.Hour}) == nil {
				mu.Lock()
				served[fmt.Sprint(client, urgency)]++
				mu.Unlock()
			}
		}
		for range Standard.Burst {
			call("first", 3)
		}
		for range 200 {
			go call("greedy", 3)
			go call("mixed", 1)
			go call("mixed", 6)
		}
		for range 80 {
			go call("modest", 3)
		}
		synctest.Wait()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		// The client "mixed" gets a larger share for its urgent calls: its head is mostly at u=1.
		total := served["greedy3"] + served["modest3"] + served["mixed1"] + served["mixed6"]
		if total < 119 || total > 121 {
			t.Errorf("got %d calls in a minute, want 119 to 121", total)
		}
		if d := served["greedy3"] - served["modest3"]; d < -1 || d > 1 {
			t.Errorf("got %v, want as many for greedy as for modest", served)
		}
		if ratio := float64(served["mixed1"]) / float64(served["mixed6"]); ratio < 3 || ratio > 4 {
			t.Errorf("got %v, want about 7 to 2 for u=1 and u=6 of one client", served)
		}
		leave()
		synctest.Wait()
	})
}

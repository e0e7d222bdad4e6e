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

// A caller of the properties below: when it comes, who it is, how long it
// stays, and how its call fares on the way.
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

// Over random arrivals, cancellations, urgencies, journeys and slots given
// back: every caller gets one answer, in time; the strictest upstream at any
// phase refuses nothing, unless a stranger spends its limit too; and at the end
// nothing is left over.
func TestLimiterProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := callers.Draw(rt, "callers")
		plan := rapid.SampledFrom([]Plan{Standard, Enterprise, {Rate: 1, Burst: 3}}).Draw(rt, "plan")
		phase := time.Duration(rapid.IntRange(1, 999).Draw(rt, "phase")) * time.Millisecond
		stranger := rapid.Bool().Draw(rt, "stranger")
		var failures []string
		synctest.Test(t, func(t *testing.T) { failures = play(t, all, plan, phase, stranger) })
		for _, f := range failures {
			rt.Error(f)
		}
	})
}

// play runs the callers against an upstream and tells what went wrong.
func play(t *testing.T, all []caller, plan Plan, phase time.Duration, stranger bool) (failures []string) {
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
					fail("waited %v of %v", waited, min(c.wait, c.leaves))
				}
				var rejected *Rejection
				switch {
				case err == nil:
				case errors.As(err, &rejected) && rejected.RetryAfter >= 0, errors.Is(err, context.DeadlineExceeded):
					return
				default:
					fail("a caller got %v", err)
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
				if !stranger {
					fail("refused with nobody else there")
				}
				r.Refused, r.Wait = true, c.wait-time.Since(began)
				if r.Wait < 0 || ctx.Err() != nil {
					return
				}
			}
		})
	}
	if stranger {
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
			fail("at rest: %+v", s)
		}
	}
	return failures
}

// Clients with a backlog get equal shares whatever they have queued, and
// urgencies within a client share by weight: over a minute of the standard
// plan nobody is off by more than a call.
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
		// mixed as a client weighs more by its urgent calls: its head is at u=1 mostly.
		total := served["greedy3"] + served["modest3"] + served["mixed1"] + served["mixed6"]
		if total < 119 || total > 121 {
			t.Errorf("%d served in a minute", total)
		}
		if d := served["greedy3"] - served["modest3"]; d < -1 || d > 1 {
			t.Errorf("equal clients got %v", served)
		}
		if ratio := float64(served["mixed1"]) / float64(served["mixed6"]); ratio < 3 || ratio > 4 {
			t.Errorf("u=1 and u=6 of one client share 7 to 2, got %v", served)
		}
		leave()
		synctest.Wait()
	})
}

package limiter

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Nobody waits in vain for an upstream that cannot be reached: a call whose dial
// times out gives its slot back, also long after it was presumed to have
// arrived.
func TestUnreachableSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		var wg sync.WaitGroup
		for range 300 { // in a minute
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), Request{Upstream: "u", Wait: 25 * time.Second})
				if err != nil {
					t.Errorf("rejected: %v", err)
					return
				}
				time.Sleep(10 * time.Second)
				s.Unsent()
			})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
		if level := l.States()[0].Level; level != 0 {
			t.Errorf("the level is %v after nothing was sent", level)
		}
	})
}

// What is given back late is never more than what the bucket still held of it:
// no mix of calls that were sent and calls that were not is refused.
func TestUnsentGivesBackNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := rapid.SampledFrom([]Plan{Standard, {Rate: 1, Burst: 5}, {Rate: 2, Burst: 10}}).Draw(t, "plan")
		r := newRace(plan, time.Duration(rapid.IntRange(0, 999).Draw(t, "phase"))*time.Millisecond)
		var dials []*Slot
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for range rapid.IntRange(0, plan.Burst).Draw(t, "calls") {
				r.send(0, 0)
			}
			for range rapid.IntRange(0, plan.Burst/2).Draw(t, "dials") {
				if r.bucket.due(r.now) == 0 {
					s := &Slot{sent: r.now}
					r.bucket.take(s)
					dials = append(dials, s)
				}
			}
			r.advance(r.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "idle")) * time.Millisecond))
			for range rapid.IntRange(0, len(dials)).Draw(t, "failed") {
				i := rapid.IntRange(0, len(dials)-1).Draw(t, "which")
				r.bucket.giveBack(r.now, dials[i])
				dials = append(dials[:i], dials[i+1:]...)
			}
		}
		r.advance(r.now.Add(time.Minute))
		if r.counter.refused > 0 {
			t.Fatalf("%v: %d calls refused", plan, r.counter.refused)
		}
	})
}

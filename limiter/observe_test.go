package limiter

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func observer(plan Plan, depth, places int) *Limiter {
	return New(Config{Plan: func(string) Plan { return plan }, Depth: depth, InFlight: places, Observe: true})
}

// A shadow holds its place for as long as its call took, from when it was
// granted: so the calls behind it wait as they would have.
func TestShadowsHoldPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := observer(Unlimited, 3, 1)
		defer l.Close()
		var calls sync.WaitGroup
		full := 0
		for range 5 {
			s, _ := l.Acquire(t.Context(), patient)
			if s.WouldReject != nil && s.WouldReject.Reason == QueueFull {
				full++
			}
			calls.Go(func() {
				time.Sleep(3 * time.Second)
				s.Answered(Accepted)
				s.Done()
			})
		}
		if full != 1 {
			t.Errorf("%d of 5 would find the queue full, want 1: one goes and three wait", full)
		}
		calls.Wait()
		for passed, want := range []int{2, 1, 0} { // one more goes at the end of each
			synctest.Wait()
			if s, _ := l.State("u"); s.Waiting[0] != want {
				t.Errorf("after %d calls of 3 s %d wait, want %d", passed+1, s.Waiting[0], want)
			}
			time.Sleep(3 * time.Second)
		}
		synctest.Wait()
		if s, _ := l.Acquire(t.Context(), patient); s.EstimatedWait != 0 {
			t.Errorf("when all are done, the next waits for %v", s.EstimatedWait)
		}
	})
}

// What was not sent takes nothing of the bucket, also where the shadow waited.
func TestShadowsOfUnsentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := observer(Standard, 100, 0)
		defer l.Close()
		for range 80 {
			s, _ := l.Acquire(t.Context(), patient)
			s.Unsent()
			s.Unsent()
			s.Done()
		}
		synctest.Wait()
		if s, _ := l.State("u"); s.Level != 0 || s.Waiting[0] != 0 {
			t.Errorf("level %v, %d wait", s.Level, s.Waiting[0])
		}
		if n := l.lines["u"].pins.Load(); n != 0 {
			t.Errorf("%d pins", n)
		}
	})
}

// A shadow that waits in vain leaves the queue when its call would have.
func TestShadowsLoseTheirPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := observer(Unlimited, 10, 1)
		defer l.Close()
		var slots []*Slot
		for range 3 {
			s, _ := l.Acquire(t.Context(), Request{Upstream: "u", Wait: 5 * time.Second})
			slots = append(slots, s)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s, _ := l.State("u"); s.Waiting[0] != 0 {
			t.Errorf("%d still wait", s.Waiting[0])
		}
		for _, s := range slots {
			s.Answered(Accepted)
			s.Done()
		}
		if n := l.lines["u"].pins.Load(); n != 0 {
			t.Errorf("%d pins", n)
		}
	})
}

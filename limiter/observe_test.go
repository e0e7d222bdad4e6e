package limiter

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// observer makes an observing limiter.
func observer(plan Plan, depth, inFlight int) *Limiter {
	return New(Config{Plan: func(string) Plan { return plan }, Depth: depth, InFlight: inFlight, Observe: true})
}

// A shadow is in flight for as long as its call took, from when it got its slot: so
// the calls behind it wait as they would have.
func TestShadowsAreInFlight(t *testing.T) {
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
			t.Errorf("%d of 5 would find the queue full, want 1: one is sent and three wait", full)
		}
		calls.Wait()
		for passed, want := range []int{2, 1, 0} { // at the end of each, one more is sent
			synctest.Wait()
			if s, _ := l.State("u"); s.Waiting[0] != want {
				t.Errorf("after %d calls of 3 s: %d wait, want %d", passed+1, s.Waiting[0], want)
			}
			time.Sleep(3 * time.Second)
		}
		synctest.Wait()
		if s, _ := l.Acquire(t.Context(), patient); s.EstimatedWait != 0 {
			t.Errorf("when all are done: got an estimated wait of %v, want none", s.EstimatedWait)
		}
	})
}

// A call that was not sent takes nothing from the bucket, also where its shadow
// waited.
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
			t.Errorf("got a level of %v and %d who wait, want nothing", s.Level, s.Waiting[0])
		}
		if n := l.lines["u"].pins.Load(); n != 0 {
			t.Errorf("got %d pins, want none", n)
		}
	})
}

// A shadow that waits in vain leaves the queue when its call would have left.
func TestShadowsLeaveTheQueue(t *testing.T) {
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
			t.Errorf("got %d who wait, want none", s.Waiting[0])
		}
		for _, s := range slots {
			s.Answered(Accepted)
			s.Done()
		}
		if n := l.lines["u"].pins.Load(); n != 0 {
			t.Errorf("got %d pins, want none", n)
		}
	})
}

// An observing limiter reports which calls would have found the queue full: on an
// unlimited plan, none.
func TestObserverReportsAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for plan, want := range map[Plan]string{Standard: "49 at once, 5 waiting, 6 rejected", Unlimited: "60 at once, 0 waiting, 0 rejected"} {
			l := New(Config{Plan: func(string) Plan { return plan }, Depth: 5, Observe: true})
			t.Cleanup(l.Close)
			atOnce, waiting, rejected := 0, 0, 0
			for range 60 {
				s, _ := l.Acquire(t.Context(), patient)
				switch {
				case s.WouldReject != nil && s.WouldReject.Reason == QueueFull:
					rejected++
				case s.EstimatedWait > 0:
					waiting++
				default:
					atOnce++
				}
			}
			if got := fmt.Sprintf("%d at once, %d waiting, %d rejected", atOnce, waiting, rejected); got != want {
				t.Errorf("%v: got %s, want %s", plan, got, want)
			}
		}
	})
}

// The calls that an observing limiter lets go take nothing from its bucket, so their
// answers put nothing back.
func TestAnswersPutNothingBackForAnObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := observer(Standard, 100, 0)
		defer l.Close()
		for range 30 {
			s, _ := l.Acquire(t.Context(), patient)
			s.Answered(Refused)
		}
		time.Sleep(10 * time.Minute)
		free := 0
		for range 100 {
			s, _ := l.Acquire(t.Context(), patient)
			if s.EstimatedWait == 0 && s.WouldReject == nil {
				free++
			}
			s.Answered(Accepted)
		}
		if free != 49 {
			t.Errorf("%d calls would be sent at once, want 49", free)
		}
	})
}

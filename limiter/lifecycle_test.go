package limiter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A call that was long taken for arrived, and then turns out never to have been
// sent, earns nothing: its part of the level has drained already.
func TestUnsentLateEarnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 100)
		upstream := counter{plan: Standard, tick: time.Now().Add(500 * time.Millisecond)}
		var dials []*Slot
		for range 15 {
			s, err := l.Acquire(t.Context(), patient)
			if err != nil {
				t.Fatal(err)
			}
			dials = append(dials, s)
		}
		spend := func() {
			for {
				s, err := l.Acquire(t.Context(), Request{Upstream: "u"})
				if err != nil {
					return
				}
				upstream.arrive(time.Now())
				s.Answered(Accepted)
			}
		}
		time.Sleep(9 * time.Second)
		spend()
		time.Sleep(time.Second)
		for _, s := range dials {
			s.Unsent()
		}
		spend()
		if upstream.refused > 0 {
			t.Errorf("%d refused with nobody else there", upstream.refused)
		}
	})
}

// Calls that take long are taken for arrived a second after they left, whether
// or not anybody looked in between.
func TestSlowCallsHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 100)
		for range 49 {
			l.Acquire(t.Context(), patient)
		}
		time.Sleep(40 * time.Second)
		n := 0
		for ; ; n++ {
			if _, err := l.Acquire(t.Context(), Request{Upstream: "u"}); err != nil {
				break
			}
		}
		if n != 49 {
			t.Errorf("40 s after a burst of slow calls %d slots are due, want 49", n)
		}
	})
}

// An observer's bucket takes nothing for its calls, so their answers take
// nothing off it.
func TestObserverLearnsNothingWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Plan: func(string) Plan { return Standard }, Depth: 100, Observe: true})
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
			t.Errorf("it would let %d go at once, want 49", free)
		}
	})
}

// A probe that was never sent does not cost the others a minute.
func TestProbeThatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 100)
		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Overloaded)
		if _, err := l.Acquire(t.Context(), patient); reason(err) != Overload {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Minute)
		gone, leave := context.WithCancel(t.Context())
		leave()
		l.Acquire(gone, patient)
		s, err := l.Acquire(t.Context(), patient)
		if err != nil {
			t.Fatalf("after one who had left: %v", err)
		}
		if _, err := l.Acquire(t.Context(), patient); reason(err) != Overload {
			t.Errorf("beside the probe: %v", err)
		}
		s.Unsent()
		s, err = l.Acquire(t.Context(), patient)
		if err != nil {
			t.Fatalf("after a slot given back: %v", err)
		}
		s.Answered(Accepted)
		if _, err := l.Acquire(t.Context(), patient); err != nil {
			t.Errorf("after a good answer: %v", err)
		}
	})
}

// An upstream without a limit that refuses is paced, until it is quiet.
func TestUnlimitedThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Unlimited, 100)
		var slots []*Slot
		for range 60 {
			s, _ := l.Acquire(t.Context(), patient)
			slots = append(slots, s)
		}
		for i, s := range slots {
			if i < 10 {
				s.Answered(Refused)
			} else {
				s.Answered(Accepted)
			}
		}
		began := time.Now()
		for range 10 {
			if err := send(t.Context(), l, patient); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(began) < 4*time.Second {
			t.Errorf("ten calls after refusals took %v", time.Since(began))
		}
		time.Sleep(3 * time.Minute)
		began = time.Now()
		for range 200 {
			send(t.Context(), l, patient)
		}
		if time.Since(began) > 0 {
			t.Errorf("when all is quiet it waits %v", time.Since(began))
		}
	})
}

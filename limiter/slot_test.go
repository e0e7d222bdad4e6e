package limiter

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A call with a slot pins its line until it is answered, and a rejected call does
// not.
func TestSlotPinsItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 0)
		s, _ := l.Acquire(t.Context(), patient)
		if _, err := l.Acquire(t.Context(), patient); reason(err) != QueueFull {
			t.Fatalf("got %v, want %s", err, QueueFull)
		}
		if n := l.lines["u"].pins.Load(); n != 1 {
			t.Errorf("got %d pins, want 1", n)
		}
		if s.Answered(Accepted); l.lines["u"].pins.Load() != 0 {
			t.Error("the line is still pinned after the answer, want no pin")
		}
	})
}

// When the slots of a whole queue are given back, as when the upstream cannot be
// reached, no call of it waits.
func TestUnsentCallsDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 100)
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), patient)
				if err != nil {
					t.Error(err)
					return
				}
				s.Unsent()
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("100 calls took %v, want no time", took)
		}
	})
}

// A call whose dial times out gives its slot back, also long after it was presumed
// to have arrived: so nobody waits in vain for an upstream that cannot be reached.
func TestSlotIsGivenBackWhenTheDialTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		var wg sync.WaitGroup
		for range 300 { // in a minute
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), Request{Upstream: "u", Wait: 25 * time.Second})
				if err != nil {
					t.Errorf("got %v, want a slot", err)
					return
				}
				time.Sleep(10 * time.Second)
				s.Unsent()
			})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
		if level := l.States()[0].Level; level != 0 {
			t.Errorf("got a level of %v, want 0: nothing was sent", level)
		}
	})
}

// A call that was presumed to have arrived for long, and then turns out not to have
// been sent, gives nothing back: its part of the level has drained already.
func TestSlotThatIsGivenBackLateIsWorthNothing(t *testing.T) {
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
			t.Errorf("%d calls were refused, want none: nobody else spends the limit", upstream.refused)
		}
	})
}

// A slot that is given back late gives no more than the bucket still held of it: in
// no mix of calls that were sent and calls that were not is any refused.
func TestSlotsThatAreGivenBackGiveNoMoreThanTheyHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := rapid.SampledFrom([]Plan{Standard, {Rate: 1, Burst: 5}, {Rate: 2, Burst: 10}}).Draw(t, "plan")
		sim := newSimulation(plan, time.Duration(rapid.IntRange(0, 999).Draw(t, "phase"))*time.Millisecond)
		var dials []*Slot
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for range rapid.IntRange(0, plan.Burst).Draw(t, "calls") {
				sim.send(0, 0)
			}
			for range rapid.IntRange(0, plan.Burst/2).Draw(t, "dials") {
				if sim.bucket.due(sim.now) == 0 {
					s := &Slot{sent: sim.now}
					sim.bucket.take(s)
					dials = append(dials, s)
				}
			}
			sim.advance(sim.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "idle")) * time.Millisecond))
			for range rapid.IntRange(0, len(dials)).Draw(t, "failed") {
				i := rapid.IntRange(0, len(dials)-1).Draw(t, "which")
				sim.bucket.giveBack(sim.now, dials[i])
				dials = append(dials[:i], dials[i+1:]...)
			}
		}
		sim.advance(sim.now.Add(time.Minute))
		if sim.counter.refused > 0 {
			t.Fatalf("%v: %d calls were refused, want none", plan, sim.counter.refused)
		}
	})
}

// A call that takes long is presumed to have arrived a second after it was sent,
// whether or not the bucket was asked in between.
func TestSlowCallsDelayNobody(t *testing.T) {
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
			t.Errorf("40 s after a burst of slow calls: got %d slots, want 49", n)
		}
	})
}

// An upstream on an unlimited plan that refuses a call is paced all the same, until
// its bucket is full again.
func TestUnlimitedPlanThatRefusesIsPaced(t *testing.T) {
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
		if took := time.Since(began); took < 4*time.Second {
			t.Errorf("ten calls after refusals took %v, want 4 s or more", took)
		}
		time.Sleep(3 * time.Minute)
		began = time.Now()
		for range 200 {
			send(t.Context(), l, patient)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("three minutes later 200 calls took %v, want no time", took)
		}
	})
}

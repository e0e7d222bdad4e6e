package limiter

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A counter is the strictest upstream that fits the documentation: it falls by a
// whole rate once a second at a given phase, never below zero, and counts what it
// refuses. It can be lenient, or run faster than real time.
type counter struct {
	plan    Plan
	tick    time.Time // the next one
	speed   int       // ticks per second; 0 is 1
	lenient bool      // what is refused does not count
	level   float64
	refused int
}

func (c *counter) arrive(now time.Time) (refused bool) {
	speed := max(1, c.speed)
	for !c.tick.After(now) {
		c.level = max(0, c.level-c.plan.Rate/float64(speed))
		c.tick = c.tick.Add(time.Second / time.Duration(speed))
	}
	c.level++
	if refused = c.level > float64(c.plan.Burst); refused {
		c.refused++
		if c.lenient {
			c.level--
		}
	}
	return refused
}

// An event of a simulation is the arrival of a call or its answer.
type event struct {
	at     time.Time
	slot   *Slot
	answer bool // else the arrival
}

// A simulation sends calls through a bucket as fast as it gives slots, or with the
// given idle times. Each call is delayed on its way there and back.
type simulation struct {
	bucket  *bucket
	counter counter
	events  []event
	now     time.Time
}

func newSimulation(p Plan, phase time.Duration) *simulation {
	return &simulation{bucket: newBucket(p), counter: counter{plan: p, tick: epoch.Add(phase)}, now: epoch}
}

func (sim *simulation) schedule(e event) {
	i, _ := slices.BinarySearchFunc(sim.events, e, func(a, b event) int { return a.at.Compare(b.at) })
	sim.events = slices.Insert(sim.events, i, e)
}

// advance runs the events up to a moment.
func (sim *simulation) advance(to time.Time) {
	for len(sim.events) > 0 && !sim.events[0].at.After(to) {
		e := sim.events[0]
		sim.events = sim.events[1:]
		sim.now = e.at
		if e.answer {
			sim.bucket.answered(e.at, e.slot)
		} else {
			sim.counter.arrive(e.at)
		}
	}
	sim.now = to
}

// send waits for a slot and sends one call.
func (sim *simulation) send(there, back time.Duration) {
	for {
		wait := sim.bucket.due(sim.now)
		if wait == 0 {
			break
		}
		to := sim.now.Add(wait)
		if len(sim.events) > 0 && sim.events[0].at.Before(to) {
			to = sim.events[0].at
		}
		sim.advance(to)
	}
	s := &Slot{sent: sim.now}
	sim.bucket.take(s)
	sim.schedule(event{at: sim.now.Add(there), slot: s})
	sim.schedule(event{at: sim.now.Add(there + back), slot: s, answer: true})
}

// On the plans that Bitrix24 documents and their like, no call is refused, whatever
// the phase of the tick, the pattern of calls, and the delays below the bound.
func TestBucketIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := rapid.SampledFrom([]Plan{Standard, Enterprise, {Rate: 1, Burst: 5}, {Rate: 0.5, Burst: 3}, {Rate: 3, Burst: 200}}).Draw(t, "plan")
		sim := newSimulation(plan, time.Duration(rapid.IntRange(0, 999).Draw(t, "phase"))*time.Millisecond)
		delay := rapid.IntRange(0, 900)
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			sim.advance(sim.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "idle")) * time.Millisecond))
			for range rapid.IntRange(1, 2*plan.Burst).Draw(t, "calls") {
				sim.send(time.Duration(delay.Draw(t, "there"))*time.Millisecond, time.Duration(delay.Draw(t, "back"))*time.Millisecond)
			}
		}
		sim.advance(sim.now.Add(time.Minute))
		if sim.counter.refused > 0 {
			t.Fatalf("%v: %d calls were refused, want none", plan, sim.counter.refused)
		}
	})
}

// A bucket that drains from the sending of a call, as a plain token bucket does, and
// not from its arrival, has calls refused. This is why take lowers the burst.
func TestBucketWithoutItsCallsInFlightIsRefused(t *testing.T) {
	sim := newSimulation(Standard, 55*time.Millisecond)
	early := func(there time.Duration) { // as if it were answered when it is sent
		sim.send(there, 0)
		for _, s := range sim.bucket.inFlight {
			sim.bucket.answered(sim.now, s)
		}
	}
	for range 49 {
		early(60 * time.Millisecond) // after the tick at 55 ms
	}
	for range 2 {
		early(0) // before the next one
	}
	sim.advance(sim.now.Add(time.Second))
	if sim.counter.refused == 0 {
		t.Fatal("no call was refused, want one: else calls in flight need not be counted")
	}
}

// A backlog is sent at the plan's rate. It takes longer than the least possible time
// only by what the margin costs, and by the time of one call.
func TestBucketWastesNothing(t *testing.T) {
	for _, plan := range []Plan{Standard, Enterprise} {
		sim := newSimulation(plan, 300*time.Millisecond)
		n := 8 * plan.Burst
		for range n {
			sim.send(20*time.Millisecond, 40*time.Millisecond)
		}
		least := float64(n-plan.Burst) / plan.Rate
		took := sim.now.Sub(epoch).Seconds()
		if allowed := least + float64(plan.margin())/plan.Rate + 0.07; took > allowed {
			t.Errorf("%v: %d calls took %.2f s, want %.2f at most; the least possible is %.2f", plan, n, took, allowed, least)
		}
	}
}

// A refusal shows that the counter is full. The next call waits until it is sure to
// be accepted, even if the refused call counted and the tick is far off.
func TestBucketAfterARefusal(t *testing.T) {
	for phase := range 20 {
		sim := newSimulation(Standard, time.Duration(phase)*50*time.Millisecond+1)
		sim.counter.level = 50 // another program spent it all
		s := &Slot{sent: epoch}
		sim.bucket.take(s)
		sim.counter.arrive(epoch)
		if sim.counter.refused != 1 {
			t.Fatal("the call was accepted, want it refused: the other program left nothing")
		}
		sim.bucket.refused(epoch, s)
		for range 20 {
			sim.send(0, 0)
		}
		sim.advance(sim.now)
		if sim.counter.refused != 1 {
			t.Errorf("phase %d: got %d refusals, want 1", phase, sim.counter.refused)
		}
	}
}

// A slot that is given back leaves no trace.
func TestBucketTakesASlotBack(t *testing.T) {
	b := newBucket(Standard)
	for range 10 {
		b.take(&Slot{sent: epoch})
	}
	before := b.level(epoch)
	s := &Slot{sent: epoch}
	b.take(s)
	b.giveBack(epoch, s)
	if after := b.level(epoch); math.Abs(after-before) > 1e-6 {
		t.Errorf("got a level of %v, want %v as before", after, before)
	}
}

// setLevel sets any level, also fractions and levels above the burst.
func TestBucketSetLevel(t *testing.T) {
	for _, level := range []float64{0, 0.25, 1, 48.5, 49, 51, 123.75} {
		b := newBucket(Standard)
		b.setLevel(epoch, level)
		if got := b.level(epoch); math.Abs(got-level) > 1e-6 {
			t.Errorf("got a level of %v, want %v", got, level)
		}
	}
}

// The level does not drain below the number of calls in flight.
func TestBucketHoldsCallsInFlight(t *testing.T) {
	for name, change := range map[string]func(*bucket, *Slot){
		"when one of them was answered":  func(b *bucket, s *Slot) { b.answered(epoch, s) },
		"when the level was set as well": func(b *bucket, s *Slot) { b.answered(epoch, s); b.setLevel(epoch, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(Standard)
			slots := []*Slot{{sent: epoch}, {sent: epoch}, {sent: epoch}}
			for _, s := range slots {
				b.take(s)
			}
			change(b, slots[0])
			if level := b.level(epoch.Add(900 * time.Millisecond)); math.Abs(level-2) > 1e-6 {
				t.Errorf("got a level of %v with two calls in flight, want 2", level)
			}
		})
	}
}

// A level above the burst drains first, then the calls ahead get their slots.
func TestBucketEstimate(t *testing.T) {
	b := newBucket(Standard) // 49 at once, then two a second
	b.setLevel(epoch, 52)
	for ahead, want := range map[int]time.Duration{0: 2 * time.Second, 3: 3500 * time.Millisecond} {
		if got := b.estimate(epoch, ahead); got < want || got > want+time.Millisecond {
			t.Errorf("with %d ahead: got %v, want %v", ahead, got, want)
		}
	}
}

// The instant at which a bucket is full again stands for its level: half a second for
// each call, and a second for those that may still be on their way.
func TestBucketIsRestoredFromOneInstant(t *testing.T) {
	b := newBucket(Standard)
	b.setLevel(epoch, 10)
	fullAt := b.fullAt(epoch)
	if got := fullAt.Sub(epoch); got < 5999*time.Millisecond || got > 6001*time.Millisecond {
		t.Errorf("got a full bucket after %v, want 6 s", got)
	}
	for left, want := range map[time.Duration]float64{-time.Hour: 0, 0: 0, 6 * time.Second: 12, time.Hour: 51} {
		b := newBucket(Standard)
		if b.restore(epoch, epoch.Add(left)); math.Abs(b.level(epoch)-want) > 1e-6 {
			t.Errorf("full in %v: got a level of %v, want %v", left, b.level(epoch), want)
		}
	}
}

// However wide the margin is, a bucket that gives no slot is shown as at its limit,
// and one that gives all its slots as at zero.
func TestBucketIsShownFromZeroToItsLimit(t *testing.T) {
	b := newBucket(Plan{Rate: 20, Burst: 50})
	b.margin = 19
	if level := b.shownLevel(epoch); level != 0 {
		t.Errorf("got %v, want 0 before the first call", level)
	}
	for b.due(epoch) == 0 {
		b.take(&Slot{sent: epoch})
	}
	if level := b.shownLevel(epoch); math.Abs(level-49) > 1e-6 {
		t.Errorf("got %v, want 49 when it gives no slot", level)
	}
}

package limiter

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A counter is an upstream in the strictest reading: it falls by a whole rate
// once a second at a given phase, never below zero, and counts what it refuses.
// It can be lenient, or run faster than real time.
type counter struct {
	plan    Plan
	tick    time.Time // the next one
	speed   int       // ticks a second; 0 is 1
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

// An event of the simulations below: calls arrive and are answered in order of
// time.
type event struct {
	at     time.Time
	slot   *Slot
	answer bool // else the arrival
}

// A race sends calls through a bucket as fast as it gives slots, or with the
// given idle times, each call delayed on its way there and back.
type race struct {
	bucket  *bucket
	counter counter
	events  []event
	now     time.Time
}

func newRace(p Plan, phase time.Duration) *race {
	return &race{bucket: newBucket(p), counter: counter{plan: p, tick: epoch.Add(phase)}, now: epoch}
}

func (r *race) schedule(e event) {
	i, _ := slices.BinarySearchFunc(r.events, e, func(a, b event) int { return a.at.Compare(b.at) })
	r.events = slices.Insert(r.events, i, e)
}

// advance lets everything happen up to a moment.
func (r *race) advance(to time.Time) {
	for len(r.events) > 0 && !r.events[0].at.After(to) {
		e := r.events[0]
		r.events = r.events[1:]
		r.now = e.at
		if e.answer {
			r.bucket.answered(e.at, e.slot)
		} else {
			r.counter.arrive(e.at)
		}
	}
	r.now = to
}

// send waits for a slot and sends one call.
func (r *race) send(there, back time.Duration) {
	for {
		wait := r.bucket.due(r.now)
		if wait == 0 {
			break
		}
		to := r.now.Add(wait)
		if len(r.events) > 0 && r.events[0].at.Before(to) {
			to = r.events[0].at
		}
		r.advance(to)
	}
	s := &Slot{sent: r.now}
	r.bucket.take(s)
	r.schedule(event{at: r.now.Add(there), slot: s})
	r.schedule(event{at: r.now.Add(there + back), slot: s, answer: true})
}

// On the plans that Bitrix24 has, no phase of its tick, no pattern of calls and
// no delays below the arrival bound bring a refusal.
func TestBucketIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := rapid.SampledFrom([]Plan{Standard, Enterprise, {Rate: 1, Burst: 5}, {Rate: 0.5, Burst: 3}, {Rate: 3, Burst: 200}}).Draw(t, "plan")
		r := newRace(plan, time.Duration(rapid.IntRange(0, 999).Draw(t, "phase"))*time.Millisecond)
		delay := rapid.IntRange(0, 900)
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			r.advance(r.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "idle")) * time.Millisecond))
			for range rapid.IntRange(1, 2*plan.Burst).Draw(t, "calls") {
				r.send(time.Duration(delay.Draw(t, "there"))*time.Millisecond, time.Duration(delay.Draw(t, "back"))*time.Millisecond)
			}
		}
		r.advance(r.now.Add(time.Minute))
		if r.counter.refused > 0 {
			t.Fatalf("%v: %d calls refused", plan, r.counter.refused)
		}
	})
}

// The drain must wait for the answers: counted from the sending, as a plain
// token bucket does, calls that arrive late are refused. This is why take
// lowers the burst.
func TestBucketWithoutItsCallsInFlightIsRefused(t *testing.T) {
	r := newRace(Standard, 55*time.Millisecond)
	early := func(there time.Duration) { // answered, it seems, as soon as it is sent
		r.send(there, 0)
		for _, s := range r.bucket.inFlight {
			r.bucket.answered(r.now, s)
		}
	}
	for range 49 {
		early(60 * time.Millisecond) // behind the tick at 55 ms
	}
	for range 2 {
		early(0) // before the next one
	}
	r.advance(r.now.Add(time.Second))
	if r.counter.refused == 0 {
		t.Fatal("nothing was refused: the calls in flight need not be held against the bucket")
	}
}

// A backlog is worked off at the plan's rate: the time beyond the least
// possible is what the margin costs, and one journey there and back.
func TestBucketWastesNothing(t *testing.T) {
	for _, plan := range []Plan{Standard, Enterprise} {
		r := newRace(plan, 300*time.Millisecond)
		n := 8 * plan.Burst
		for range n {
			r.send(20*time.Millisecond, 40*time.Millisecond)
		}
		least := float64(n-plan.Burst) / plan.Rate
		took := r.now.Sub(epoch).Seconds()
		if allowed := least + float64(plan.margin())/plan.Rate + 0.07; took > allowed {
			t.Errorf("%v: %d calls took %.2f s, least %.2f, allowed %.2f", plan, n, took, least, allowed)
		}
	}
}

// A refusal says that the counter is full; the next call waits until it is
// sure to be taken, even if the refused one counted and the tick is far off.
func TestBucketAfterARefusal(t *testing.T) {
	for phase := range 20 {
		r := newRace(Standard, time.Duration(phase)*50*time.Millisecond+1)
		r.counter.level = 50 // a stranger spent it all
		s := &Slot{sent: epoch}
		r.bucket.take(s)
		r.counter.arrive(epoch)
		if r.counter.refused != 1 {
			t.Fatal("the stranger left something")
		}
		r.bucket.refused(epoch, s)
		for range 20 {
			r.send(0, 0)
		}
		r.advance(r.now)
		if r.counter.refused != 1 {
			t.Errorf("phase %d: refused %d times", phase, r.counter.refused)
		}
	}
}

// A slot that was not used leaves no trace.
func TestBucketGiveBack(t *testing.T) {
	b := newBucket(Standard)
	for range 10 {
		b.take(&Slot{sent: epoch})
	}
	before := b.level(epoch)
	s := &Slot{sent: epoch}
	b.take(s)
	b.giveBack(epoch, s)
	if after := b.level(epoch); math.Abs(after-before) > 1e-6 {
		t.Errorf("level %v, was %v", after, before)
	}
}

// setLevel reaches any level, fractions and levels above the burst too.
func TestBucketSetLevel(t *testing.T) {
	for _, level := range []float64{0, 0.25, 1, 48.5, 49, 51, 123.75} {
		b := newBucket(Standard)
		b.setLevel(epoch, level)
		if got := b.level(epoch); math.Abs(got-level) > 1e-6 {
			t.Errorf("level %v, want %v", got, level)
		}
	}
}

// The level never drains below the calls in flight, whether one of them was
// answered or the level was set meanwhile.
func TestBucketHoldsCallsInFlight(t *testing.T) {
	for what, change := range map[string]func(*bucket, *Slot){
		"answered": func(b *bucket, s *Slot) { b.answered(epoch, s) },
		"set":      func(b *bucket, s *Slot) { b.answered(epoch, s); b.setLevel(epoch, 3) },
	} {
		b := newBucket(Standard)
		slots := []*Slot{{sent: epoch}, {sent: epoch}, {sent: epoch}}
		for _, s := range slots {
			b.take(s)
		}
		change(b, slots[0])
		if level := b.level(epoch.Add(900 * time.Millisecond)); math.Abs(level-2) > 1e-6 {
			t.Errorf("%s: level %v with two calls in flight", what, level)
		}
	}
}

// Those who are ahead wait for a level above the burst to drain first.
func TestBucketWait(t *testing.T) {
	b := newBucket(Standard) // 49 at once, then two a second
	b.setLevel(epoch, 52)
	for ahead, want := range map[int]time.Duration{0: 2 * time.Second, 3: 3500 * time.Millisecond} {
		if got := b.estimate(epoch, ahead); got < want || got > want+time.Millisecond {
			t.Errorf("with %d ahead: %v, want %v", ahead, got, want)
		}
	}
}

// The instant at which a bucket is full again stands for its level: two calls a
// second, and a second for those that may still be on their way.
func TestBucketFullAt(t *testing.T) {
	b := newBucket(Standard)
	b.setLevel(epoch, 10)
	fullAt := b.fullAt(epoch)
	if got := fullAt.Sub(epoch); got < 5999*time.Millisecond || got > 6001*time.Millisecond {
		t.Errorf("full after %v, want 6 s", got)
	}
	for left, want := range map[time.Duration]float64{-time.Hour: 0, 0: 0, 6 * time.Second: 12, time.Hour: 51} {
		b := newBucket(Standard)
		if b.restore(epoch, epoch.Add(left)); math.Abs(b.level(epoch)-want) > 1e-6 {
			t.Errorf("full in %v: level %v, want %v", left, b.level(epoch), want)
		}
	}
}

// However wide the margin has grown, a bucket that gives nothing more is shown
// as full, and an empty one as empty.
func TestBucketFill(t *testing.T) {
	b := newBucket(Plan{Rate: 20, Burst: 50})
	b.margin = 19
	if fill := b.shownLevel(epoch); fill != 0 {
		t.Errorf("empty, it shows %v", fill)
	}
	for b.due(epoch) == 0 {
		b.take(&Slot{sent: epoch})
	}
	if fill := b.shownLevel(epoch); math.Abs(fill-49) > 1e-6 {
		t.Errorf("full, it shows %v", fill)
	}
}

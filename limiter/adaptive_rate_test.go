package limiter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// A program is another one that spends a share of the plan's rate directly at the
// upstream.
type program struct {
	name    string
	share   float64 // of the plan's rate
	burst   int     // calls at once
	poisson bool    // random pauses, else even ones
	retries bool    // until accepted, about a second apart, one call at a time
}

// A sharedLimit is an upstream whose limit we spend, with an endless backlog, beside
// another program. Its time is virtual. On an upstream that runs faster than real
// time it is counted in ticks: a minute has sixty of them.
type sharedLimit struct {
	*rand.Rand
	plan    Plan
	bucket  *bucket
	counter counter
	other   program
	pending int // calls that the other program retries
	now     time.Time
	gone    time.Time // when the other program stops
	todo    []task

	measuring                           bool
	sent, refused, theirs, theirRefused int
}

type task struct {
	at time.Time
	do func()
}

func newSharedLimit(c counter, other program, seed uint64) *sharedLimit {
	u := &sharedLimit{Rand: rand.New(rand.NewPCG(seed, 0)), plan: c.plan, bucket: newBucket(c.plan), counter: c, other: other, now: epoch}
	u.counter.tick = epoch.Add(time.Duration(u.Float64() * float64(u.ticks(1))))
	if other.share > 0 {
		u.after(u.pause(), u.otherCalls)
	}
	return u
}

func (u *sharedLimit) ticks(n float64) time.Duration { return seconds(n / float64(u.counter.speed)) }

func (u *sharedLimit) after(d time.Duration, do func()) {
	at := u.now.Add(d)
	i, _ := slices.BinarySearchFunc(u.todo, at, func(t task, at time.Time) int { return t.at.Compare(at) })
	u.todo = slices.Insert(u.todo, i, task{at, do})
}

// run lets so many ticks pass, in which we send a call whenever a slot is due.
func (u *sharedLimit) run(ticks float64) {
	end := u.now.Add(u.ticks(ticks))
	ask := u.now // when the dispatcher wakes
	for u.now.Before(end) {
		if !u.now.Before(ask) {
			wait := u.bucket.due(u.now)
			for ; wait == 0; wait = u.bucket.due(u.now) {
				u.send()
			}
			ask = u.now.Add(wait)
		}
		if len(u.todo) == 0 || u.todo[0].at.After(ask) {
			u.now = ask
			continue
		}
		next := u.todo[0]
		u.todo = u.todo[1:]
		u.now = next.at
		next.do()
	}
}

// send sends one call, and reports its answer to the bucket. There and back it takes
// 5 to 200 ms.
func (u *sharedLimit) send() {
	s := &Slot{sent: u.now}
	u.bucket.take(s)
	delay := func() time.Duration { return time.Duration(2500+u.IntN(97_500)) * time.Microsecond }
	u.after(delay(), func() {
		refused := u.counter.arrive(u.now)
		if u.measuring {
			u.count(&u.sent, &u.refused, refused)
		}
		u.after(delay(), func() {
			if refused {
				u.bucket.refused(u.now, s)
			} else {
				u.bucket.accepted(u.now, s)
			}
		})
	})
}

func (u *sharedLimit) count(calls, bad *int, refused bool) {
	*calls++
	if refused {
		*bad++
	}
}

func (u *sharedLimit) pause() time.Duration {
	p := float64(u.other.burst) / (u.other.share * u.plan.Rate)
	if u.other.poisson {
		p *= u.ExpFloat64()
	}
	return seconds(p)
}

func (u *sharedLimit) otherCalls() {
	if !u.gone.IsZero() {
		return
	}
	u.after(u.pause(), u.otherCalls)
	if u.other.retries {
		if u.pending++; u.pending == 1 {
			u.otherTries()
		}
		return
	}
	for range u.other.burst {
		u.otherSends()
	}
}

func (u *sharedLimit) otherSends() (refused bool) {
	refused = u.counter.arrive(u.now)
	if u.measuring {
		u.count(&u.theirs, &u.theirRefused, refused)
	}
	return refused
}

func (u *sharedLimit) otherTries() {
	switch {
	case !u.gone.IsZero():
	case u.otherSends():
		u.after(u.ticks(0.5+u.Float64()), u.otherTries)
	default:
		if u.pending--; u.pending > 0 {
			u.after(u.ticks(0.2), u.otherTries)
		}
	}
}

// figures are the result of a run.
type figures struct {
	use      float64 // of what the other program left us, as a share
	refused  float64 // share of our calls
	recovery int     // ticks from the end of the other program to the plan's rate
}

// measure lets the other program spend for eleven minutes, of which the first does
// not count, and then stop.
func (u *sharedLimit) measure() figures {
	u.run(60)
	u.measuring = true
	u.run(600)
	u.measuring = false
	left := 600 * u.plan.Rate / float64(u.counter.speed)
	left -= float64(u.theirs)
	if u.counter.lenient {
		left += float64(u.theirRefused)
	}
	f := figures{use: float64(u.sent-u.refused) / left, refused: float64(u.refused) / float64(u.sent)}
	u.gone = u.now
	for ; u.bucket.adaptive.rate(u.now) < u.plan.Rate && f.recovery < 1000; f.recovery++ {
		u.run(1)
	}
	return f
}

var (
	upstreams = []struct {
		name string
		counter
	}{
		{"standard", counter{plan: Standard, speed: 1}},
		{"enterprise", counter{plan: Enterprise, speed: 1}},
		{"20/50 x10", counter{plan: Plan{Rate: 20, Burst: 50}, speed: 10}},
	}
	programs = []program{
		{name: "steady", burst: 1},
		{name: "random", burst: 1, poisson: true},
		{name: "bursty", burst: 10},
		{name: "retrying", burst: 1, poisson: true, retries: true},
	}
)

// Beside another program on the same limit we use what is left of it and are seldom
// refused. When it has stopped, we are soon at the plan's rate again.
//
// The bounds hold for means over seeds, each of which has a phase of its own, and
// while the other program takes up to half of the limit. The worst figures are
// logged, and those beside a program that takes three quarters.
func TestAdaptiveRateBesideAnotherProgram(t *testing.T) {
	for _, up := range upstreams {
		for _, lenient := range []bool{false, true} {
			for _, share := range []float64{0.25, 0.5, 0.75} {
				for _, other := range programs {
					other.share = share
					c := up.counter
					c.lenient = lenient
					mean, worst := survey(c, other)
					line := fmt.Sprintf("%-10s %8s %2.0f %%, refused calls free %-5v: used %5.1f %% (worst %5.1f), refused %4.1f %% (worst %4.1f), recovered after %2d ticks",
						up.name, other.name, 100*share, lenient, 100*mean.use, 100*worst.use, 100*mean.refused, 100*worst.refused, worst.recovery)
					t.Log(line)
					if worst.recovery > 60 {
						t.Error("want a recovery within 60 ticks: ", line)
					}
					if share <= 0.5 && (mean.use < 0.95 || mean.refused > 0.05) {
						t.Error("want 95 % used and 5 % refused: ", line)
					}
				}
			}
		}
	}
}

// survey runs the measurement with several seeds.
func survey(c counter, other program) (mean, worst figures) {
	const seeds = 5
	worst.use = math.Inf(1)
	for seed := range uint64(seeds) {
		f := newSharedLimit(c, other, seed).measure()
		mean.use += f.use / seeds
		mean.refused += f.refused / seeds
		worst.use = min(worst.use, f.use)
		worst.refused = max(worst.refused, f.refused)
		worst.recovery = max(worst.recovery, f.recovery)
	}
	return mean, worst
}

// Without another program no call is refused, and nothing changes.
func TestAdaptiveRateAlone(t *testing.T) {
	for _, up := range upstreams[:2] {
		u := newSharedLimit(up.counter, program{}, 1)
		u.measuring = true
		u.run(600)
		if b := u.bucket; u.refused > 0 || b.tokens.Limit() != rate.Limit(up.plan.Rate) || b.margin != up.plan.margin() {
			t.Errorf("%v: got %d refused, a rate of %v and a margin of %d; want none, %v and %d", up.plan, u.refused, b.tokens.Limit(), b.margin, up.plan.Rate, up.plan.margin())
		}
	}
}

// A single refusal costs less than two seconds of the plan's rate.
func TestSingleRefusalCostsLittle(t *testing.T) {
	for _, up := range upstreams[:2] {
		var sent [2]int
		for i := range sent {
			u := newSharedLimit(up.counter, program{}, 1)
			u.measuring = true
			u.run(60)
			if i == 1 {
				u.bucket.refused(u.now, &Slot{sent: u.now, arrived: true})
			}
			u.run(60)
			sent[i] = u.sent
		}
		if cost := float64(sent[0] - sent[1]); cost <= 0 || cost > 2*up.plan.Rate {
			t.Errorf("%v: it cost %v calls, want some, and %v at most", up.plan, cost, 2*up.plan.Rate)
		}
	}
}

// What was accepted between two refusals is the share. The rate after a refusal is
// three quarters of it, is the share at half of the span, and then grows to the
// plan's.
func TestRateAfterARefusal(t *testing.T) {
	a := newAdaptiveRate(Standard)
	now := epoch
	a.refused(now, now)
	for range 20 {
		a.accepted(1)
	}
	now = now.Add(20 * time.Second)
	a.refused(now, now)
	if a.share < 1 || a.share > 1.15 {
		t.Errorf("20 calls in 20 s: got a share of %v, want 1 to 1.15", a.share)
	}
	last := 0.0
	for ms := range 60_000 {
		r := a.rate(now.Add(time.Duration(ms) * time.Millisecond))
		if r < last || r <= 0 || r > 2 {
			t.Fatalf("after %d ms: got a rate of %v, want %v to 2", ms, r, last)
		}
		switch {
		case ms == 0 && math.Abs(r-a.share*3/4) > 1e-9,
			ms == 27_600 && math.Abs(r-a.share) > 0.01,
			ms == 55_000 && r != 2:
			t.Errorf("after %d ms: got a rate of %v, want 3/4 of the share %v at first, all of it after 27.6 s, and 2 after 55 s", ms, r, a.share)
		}
		last = r
	}
}

// The estimate follows the growth of the rate: it is the time in which the rate adds
// up to the calls.
func TestEstimateFollowsTheRate(t *testing.T) {
	a := adaptiveRate{plan: 2, span: 55 * time.Second, share: 1, refusal: epoch}
	for _, calls := range []float64{0.5, 3, 6, 20, 50, 200} {
		sum, ms := 0.0, 0
		for ; sum < calls; ms++ {
			sum += a.rate(epoch.Add(time.Duration(ms)*time.Millisecond)) / 1000
		}
		if got := a.estimate(epoch, calls).Seconds(); math.Abs(got-float64(ms)/1000) > 1 {
			t.Errorf("%v calls: got %.2f s, want %.2f", calls, got, float64(ms)/1000)
		}
	}
	if got := a.estimate(epoch, -1); got > 0 {
		t.Errorf("no calls: got %v, want no time", got)
	}
}

// A refusal with no other in the two spans before it does not lower the rate.
func TestRareRefusalLowersNoRate(t *testing.T) {
	for quiet, want := range map[time.Duration]float64{110 * time.Second: 2, 110*time.Second - 1: 1} {
		a := newAdaptiveRate(Standard)
		a.refused(epoch, epoch)
		now := epoch.Add(quiet)
		if a.refused(now, now); a.share != want {
			t.Errorf("%v after the last refusal: got a share of %v, want %v", quiet, a.share, want)
		}
	}
}

// Refusals of calls that were already on their way at the last refusal count as one
// with it.
func TestRefusalsOfCallsInFlightCountOnce(t *testing.T) {
	a := newAdaptiveRate(Standard)
	a.refused(epoch, epoch)
	for ms := range 200 {
		a.refused(epoch.Add(time.Duration(ms)*time.Millisecond), epoch.Add(-time.Millisecond))
	}
	if a.share != 2 || !a.refusal.Equal(epoch) {
		t.Errorf("got %+v, want a share of 2 and the first refusal alone", a)
	}
}

// Where nothing is left of the limit, we go on at a low rate.
func TestRateWhereNothingIsLeft(t *testing.T) {
	u := newSharedLimit(upstreams[0].counter, program{share: 5, burst: 1}, 1)
	u.measuring = true
	u.run(600)
	if u.sent-49 > 60 || u.refused < 10 {
		t.Errorf("got %d calls sent and %d refused, want 109 and no fewer than 10: neither hammer the upstream nor give up", u.sent, u.refused)
	}
}

// A margin that is too small for the upstream's tick grows until it is enough: on a
// plan of 20/50 the refusals end.
func TestMarginGrows(t *testing.T) {
	u := newSharedLimit(counter{plan: Plan{Rate: 20, Burst: 50}, speed: 1}, program{}, 1)
	u.run(120)
	if u.counter.refused == 0 || u.bucket.margin <= u.plan.margin() {
		t.Errorf("got %d refused and a margin of %d, want some, and a margin that has grown", u.counter.refused, u.bucket.margin)
	}
	u.counter.refused = 0
	u.run(600)
	if u.counter.refused > 0 {
		t.Errorf("got %d refused with a margin of %d, want none", u.counter.refused, u.bucket.margin)
	}
}

// The same through a Limiter, with goroutines: callers see no error, refused calls
// are sent again, and the state shows the rate in force, which is the plan's again
// within a minute after the other program has stopped.
func TestLimiterBesideAnotherProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		var mu sync.Mutex
		upstream := counter{plan: Standard, tick: time.Now().Add(300 * time.Millisecond)}
		arrive := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return upstream.arrive(time.Now())
		}
		var sent, refused int
		call := func() error {
			for r := patient; ; r.Refused = true {
				s, err := l.Acquire(t.Context(), r)
				if err != nil {
					return err
				}
				time.Sleep(30 * time.Millisecond)
				no := arrive()
				time.Sleep(30 * time.Millisecond)
				s.Answered(map[bool]Outcome{true: Refused, false: Accepted}[no])
				mu.Lock()
				sent++
				if no {
					refused++
				}
				mu.Unlock()
				if !no {
					return nil
				}
			}
		}
		var callers sync.WaitGroup
		end := time.Now().Add(12 * time.Minute)
		for range 30 {
			callers.Go(func() {
				for time.Now().Before(end) {
					if err := call(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		theirs := 0
		for range 600 {
			time.Sleep(time.Second)
			if !arrive() {
				theirs++
			}
		}
		mu.Lock()
		use := float64(sent-refused) / float64(600*2+50-theirs)
		share := float64(refused) / float64(sent)
		mu.Unlock()
		if use < 0.95 || share > 0.05 {
			t.Errorf("used %.1f %% and refused %.1f %%, want 95 or more and 5 or less", 100*use, 100*share)
		}
		if s := l.States()[0]; s.Rate >= 2 || !s.Lowered {
			t.Errorf("beside another program: got a rate of %v, lowered %v, want less than 2, lowered", s.Rate, s.Lowered)
		}
		time.Sleep(time.Minute)
		if s := l.States()[0]; s.Rate != 2 || s.Lowered {
			t.Errorf("a minute after the other program has stopped: got a rate of %v, lowered %v, want 2, not lowered", s.Rate, s.Lowered)
		}
		callers.Wait()
		time.Sleep(time.Second) // the dispatcher ends
	})
}

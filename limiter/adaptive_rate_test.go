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

// A stranger spends a share of the plan's rate directly at the upstream.
type stranger struct {
	name    string
	share   float64 // of the plan's rate
	burst   int     // calls at once
	poisson bool    // random pauses, else even ones
	retries bool    // until accepted, about a second apart, one call at a time
}

// A shared is an upstream on which we, with an endless backlog, and a stranger
// spend one limit. Its time is virtual and, on a sped-up upstream, counted in
// ticks: a minute is sixty of them.
type shared struct {
	*rand.Rand
	plan     Plan
	bucket   *bucket
	counter  counter
	stranger stranger
	pending  int // calls of a stranger who retries
	now      time.Time
	gone     time.Time // when the stranger leaves
	todo     []task

	measuring                           bool
	sent, refused, theirs, theirRefused int
}

type task struct {
	at time.Time
	do func()
}

func newShared(c counter, s stranger, seed uint64) *shared {
	u := &shared{Rand: rand.New(rand.NewPCG(seed, 0)), plan: c.plan, bucket: newBucket(c.plan), counter: c, stranger: s, now: epoch}
	u.counter.tick = epoch.Add(time.Duration(u.Float64() * float64(u.ticks(1))))
	if s.share > 0 {
		u.after(u.pause(), u.strangerCalls)
	}
	return u
}

func (u *shared) ticks(n float64) time.Duration { return seconds(n / float64(u.counter.speed)) }

func (u *shared) after(d time.Duration, do func()) {
	at := u.now.Add(d)
	i, _ := slices.BinarySearchFunc(u.todo, at, func(t task, at time.Time) int { return t.at.Compare(at) })
	u.todo = slices.Insert(u.todo, i, task{at, do})
}

// run lets so many ticks pass, with us sending whenever a slot is due.
func (u *shared) run(ticks float64) {
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

// send sends one call, and has its answer booked. There and back it is 5 to
// 200 ms under way.
func (u *shared) send() {
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

func (u *shared) count(calls, bad *int, refused bool) {
	*calls++
	if refused {
		*bad++
	}
}

func (u *shared) pause() time.Duration {
	p := float64(u.stranger.burst) / (u.stranger.share * u.plan.Rate)
	if u.stranger.poisson {
		p *= u.ExpFloat64()
	}
	return seconds(p)
}

func (u *shared) strangerCalls() {
	if !u.gone.IsZero() {
		return
	}
	u.after(u.pause(), u.strangerCalls)
	if u.stranger.retries {
		if u.pending++; u.pending == 1 {
			u.strangerTries()
		}
		return
	}
	for range u.stranger.burst {
		u.strangerSends()
	}
}

func (u *shared) strangerSends() (refused bool) {
	refused = u.counter.arrive(u.now)
	if u.measuring {
		u.count(&u.theirs, &u.theirRefused, refused)
	}
	return refused
}

func (u *shared) strangerTries() {
	switch {
	case !u.gone.IsZero():
	case u.strangerSends():
		u.after(u.ticks(0.5+u.Float64()), u.strangerTries)
	default:
		if u.pending--; u.pending > 0 {
			u.after(u.ticks(0.2), u.strangerTries)
		}
	}
}

// figures are what a run shows.
type figures struct {
	use      float64 // of what the stranger left us, as a share
	refused  float64 // share of our calls
	recovery int     // ticks from the stranger's leaving to the plan's rate
}

// measure lets a stranger spend for eleven minutes, of which the first does not
// count, and then go.
func (u *shared) measure() figures {
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
	strangers = []stranger{
		{name: "steady", burst: 1},
		{name: "random", burst: 1, poisson: true},
		{name: "bursty", burst: 10},
		{name: "retrying", burst: 1, poisson: true, retries: true},
	}
)

// With a stranger on the same limit we use what is left of it and are seldom
// refused; when the stranger has gone, we are soon at the plan's rate again.
//
// The bounds hold for means over seeds, each of which has a phase of its own,
// and up to half of the limit; the worst are printed, and what becomes of us
// beside a stranger who takes three quarters, or retries without a pause.
func TestLearnerBesideAStranger(t *testing.T) {
	for _, up := range upstreams {
		for _, lenient := range []bool{false, true} {
			for _, share := range []float64{0.25, 0.5, 0.75} {
				for _, s := range strangers {
					s.share = share
					c := up.counter
					c.lenient = lenient
					mean, worst := survey(c, s)
					line := fmt.Sprintf("%-10s %8s %2.0f %%, refused calls free %-5v: used %5.1f %% (worst %5.1f), refused %4.1f %% (worst %4.1f), recovered after %2d ticks",
						up.name, s.name, 100*share, lenient, 100*mean.use, 100*worst.use, 100*mean.refused, 100*worst.refused, worst.recovery)
					t.Log(line)
					if worst.recovery > 60 {
						t.Error("recovers late: ", line)
					}
					if share <= 0.5 && (mean.use < 0.95 || mean.refused > 0.05) {
						t.Error("out of bounds: ", line)
					}
				}
			}
		}
	}
}

func survey(c counter, s stranger) (mean, worst figures) {
	const seeds = 5
	worst.use = math.Inf(1)
	for seed := range uint64(seeds) {
		f := newShared(c, s, seed).measure()
		mean.use += f.use / seeds
		mean.refused += f.refused / seeds
		worst.use = min(worst.use, f.use)
		worst.refused = max(worst.refused, f.refused)
		worst.recovery = max(worst.recovery, f.recovery)
	}
	return mean, worst
}

// With nobody else there, and no refusal, nothing is changed.
func TestLearnerAlone(t *testing.T) {
	for _, up := range upstreams[:2] {
		u := newShared(up.counter, stranger{}, 1)
		u.measuring = true
		u.run(600)
		if b := u.bucket; u.refused > 0 || b.tokens.Limit() != rate.Limit(up.plan.Rate) || b.margin != up.plan.margin() {
			t.Errorf("%v: %d refused, rate %v, margin %d", up.plan, u.refused, b.tokens.Limit(), b.margin)
		}
	}
}

// One stray refusal costs less than two seconds of the plan's rate.
func TestLearnerStrayRefusal(t *testing.T) {
	for _, up := range upstreams[:2] {
		var sent [2]int
		for i := range sent {
			u := newShared(up.counter, stranger{}, 1)
			u.measuring = true
			u.run(60)
			if i == 1 {
				u.bucket.refused(u.now, &Slot{sent: u.now, arrived: true})
			}
			u.run(60)
			sent[i] = u.sent
		}
		if cost := float64(sent[0] - sent[1]); cost <= 0 || cost > 2*up.plan.Rate {
			t.Errorf("%v: cost %v calls", up.plan, cost)
		}
	}
}

// What was accepted between two refusals is the share; the rate starts at
// three quarters of it, is the share from half of the span on, then grows to the
// plan's.
func TestLearnerRate(t *testing.T) {
	l := newAdaptiveRate(Standard)
	now := epoch
	l.refused(now, now)
	for range 20 {
		l.accepted()
	}
	now = now.Add(20 * time.Second)
	l.refused(now, now)
	if l.share < 1 || l.share > 1.15 {
		t.Errorf("20 calls in 20 s: share %v", l.share)
	}
	last := 0.0
	for ms := range 60_000 {
		r := l.rate(now.Add(time.Duration(ms) * time.Millisecond))
		if r < last || r <= 0 || r > 2 {
			t.Fatalf("after %d ms rate %v, was %v", ms, r, last)
		}
		switch {
		case ms == 0 && math.Abs(r-l.share*3/4) > 1e-9,
			ms == 27_600 && math.Abs(r-l.share) > 0.01,
			ms == 55_000 && r != 2:
			t.Errorf("after %d ms rate %v of share %v", ms, r, l.share)
		}
		last = r
	}
}

// The foretold wait follows the growth of the rate: it is the time in which
// the rate adds up to the calls.
func TestLearnerWait(t *testing.T) {
	l := adaptiveRate{plan: 2, span: 55 * time.Second, share: 1, refusal: epoch}
	for _, calls := range []float64{0.5, 3, 6, 20, 50, 200} {
		sum, ms := 0.0, 0
		for ; sum < calls; ms++ {
			sum += l.rate(epoch.Add(time.Duration(ms)*time.Millisecond)) / 1000
		}
		if got := l.estimate(epoch, calls).Seconds(); math.Abs(got-float64(ms)/1000) > 1 {
			t.Errorf("%v calls take %.2f s, want %.2f", calls, got, float64(ms)/1000)
		}
	}
	if got := l.estimate(epoch, -1); got > 0 {
		t.Errorf("no calls take %v", got)
	}
}

// A refusal with none before it in two spans changes no rate.
func TestLearnerRareRefusal(t *testing.T) {
	for quiet, want := range map[time.Duration]float64{110 * time.Second: 2, 110*time.Second - 1: 1} {
		l := newAdaptiveRate(Standard)
		l.refused(epoch, epoch)
		now := epoch.Add(quiet)
		if l.refused(now, now); l.share != want {
			t.Errorf("%v after the last refusal: share %v, want %v", quiet, l.share, want)
		}
	}
}

// Refusals of calls that were on their way at the last refusal are one event
// with it; they lower nothing.
func TestLearnerRefusalsInFlight(t *testing.T) {
	l := newAdaptiveRate(Standard)
	l.refused(epoch, epoch)
	for ms := range 200 {
		l.refused(epoch.Add(time.Duration(ms)*time.Millisecond), epoch.Add(-time.Millisecond))
	}
	if l.share != 2 || !l.refusal.Equal(epoch) {
		t.Errorf("%+v", l)
	}
}

// However many refusals come, some rate remains, and the plan's comes back.
func TestLearnerLockedOut(t *testing.T) {
	u := newShared(upstreams[0].counter, stranger{share: 5, burst: 1}, 1)
	u.measuring = true
	u.run(600)
	if u.sent-49 > 60 || u.refused < 10 {
		t.Errorf("%d sent, %d refused while nothing was left: neither hammer nor give up", u.sent, u.refused)
	}
}

// A margin that is too small for the upstream's tick grows until it is enough:
// on a true 20/50, alone, refusals end.
func TestMarginGrows(t *testing.T) {
	u := newShared(counter{plan: Plan{Rate: 20, Burst: 50}, speed: 1}, stranger{}, 1)
	u.run(120)
	if u.counter.refused == 0 || u.bucket.margin <= u.plan.margin() {
		t.Errorf("%d refused, margin %d: it did not have to grow", u.counter.refused, u.bucket.margin)
	}
	u.counter.refused = 0
	u.run(600)
	if u.counter.refused > 0 {
		t.Errorf("%d refused with a margin of %d", u.counter.refused, u.bucket.margin)
	}
}

// The same through a Limiter, with goroutines: callers see no limit error, the
// refused calls go again, the state shows the rate in force, and it is the
// plan's again within a minute after the stranger has gone.
func TestLimiterBesideAStranger(t *testing.T) {
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
		strangers := 0
		for range 600 {
			time.Sleep(time.Second)
			if !arrive() {
				strangers++
			}
		}
		mu.Lock()
		use := float64(sent-refused) / float64(600*2+50-strangers)
		share := float64(refused) / float64(sent)
		mu.Unlock()
		t.Logf("used %.1f %%, refused %.1f %%", 100*use, 100*share)
		if use < 0.95 || share > 0.05 {
			t.Error("out of bounds")
		}
		if r := l.States()[0].Rate; r >= 2 {
			t.Errorf("the rate in force beside a stranger is %v", r)
		}
		time.Sleep(time.Minute)
		if r := l.States()[0].Rate; r != 2 {
			t.Errorf("a minute after the stranger has gone the rate is %v", r)
		}
		callers.Wait()
		time.Sleep(time.Second) // the dispatcher ends
	})
}

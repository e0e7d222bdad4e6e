package operating

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"b24proxy/limiter"
)

const budgetLimit = 480 * time.Second

var (
	epoch  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	method = Key{Upstream: "u", Credential: "app", Method: "crm.item.list"}
)

func newGuard(limit time.Duration, keep int) *Guard { return New(Config{Limit: limit, Keep: keep}) }

// ran is the answer of a call that took its cost and reports a sum.
func ran(cost, used time.Duration, reset time.Time) Answer {
	return Answer{Ran: true, Took: cost, Usage: Usage{Known: true, Used: used, ResetAt: reset}}
}

// mustEnter lets a call in that nothing should hold.
func mustEnter(t *testing.T, g *Guard, now time.Time, k Key) *Pass {
	t.Helper()
	p, wait, r := g.Enter(now, k, now)
	if p == nil {
		t.Fatalf("at %v: got a wait of %v and rejection %v, want a pass", now.Sub(epoch), wait, r)
	}
	return p
}

// wantHeld checks for how long the calls of a method are held.
func wantHeld(t *testing.T, g *Guard, now time.Time, k Key, want time.Duration) {
	t.Helper()
	var got time.Duration
	p, _, r := g.Enter(now, k, now)
	if r != nil && r.Reason == limiter.OperatingTime {
		got = r.RetryAfter
	}
	if p != nil || got != want {
		t.Errorf("at %v: got pass %v and rejection %v, want to be held for %v", now.Sub(epoch), p != nil, r, want)
	}
}

// wantUsed checks the sum that is known of a method.
func wantUsed(t *testing.T, g *Guard, now time.Time, want time.Duration) {
	t.Helper()
	if used := g.List(now, "u", 1)[0].Used; used != want {
		t.Errorf("got a sum of %v, want %v", used, want)
	}
}

// call makes one call and reports its answer.
func call(t *testing.T, g *Guard, now time.Time, k Key, a Answer) {
	t.Helper()
	mustEnter(t, g, now, k).Done(now.Add(a.Took), a)
}

// Close to the limit a method's calls are held until its reset: those that may
// wait so long wait, the others are rejected. Other methods, credentials and
// upstreams go on.
func TestCallsAreHeldNearTheLimit(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(3 * time.Minute)
	call(t, g, epoch, method, ran(10*time.Second, 470*time.Second, reset))
	now := epoch.Add(time.Minute)
	if _, wait, r := g.Enter(now, method, reset); r != nil || wait != 2*time.Minute {
		t.Errorf("a call that may wait: got a wait of %v and %v, want 2m", wait, r)
	}
	wantHeld(t, g, now, method, 2*time.Minute)
	for _, k := range []Key{{"u", "app", "crm.item.get"}, {"u", "other", "crm.item.list"}, {"v", "app", "crm.item.list"}} {
		mustEnter(t, g, now, k)
	}
	if s := g.List(now, "u", 1)[0]; s.HeldUntil != reset || s.Blocked || s.Used != 470*time.Second {
		t.Errorf("got %+v, want 470 s used, held until the reset and not blocked", s)
	}
}

// A call is let in if the sum with its mean cost stays within 99 % of the limit.
func TestExpectedCostOfTheNextCall(t *testing.T) {
	const mean = 10 * time.Second
	ceiling := newGuard(budgetLimit, 1).ceiling()
	for used, want := range map[time.Duration]bool{
		464 * time.Second: true, ceiling - mean: true, ceiling - mean + 1: false, 466 * time.Second: false, 481 * time.Second: false,
	} {
		t.Run(fmt.Sprintf("with %v used it is let in: %v", used, want), func(t *testing.T) {
			g := newGuard(budgetLimit, 100)
			call(t, g, epoch, method, ran(mean, used, epoch.Add(time.Minute)))
			now := epoch.Add(20 * time.Second)
			if p, _, _ := g.Enter(now, method, now); (p != nil) != want {
				t.Errorf("got %v, want %v", p != nil, want)
			}
		})
	}
}

// Calls that cost nothing lower the mean: with 440 s used, three calls of 10 s
// may be in flight, but only one of 20 s.
func TestFreeCallsLowerTheMeanCost(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(10 * time.Minute)
	for range 2 {
		call(t, g, epoch, method, ran(20*time.Second, 440*time.Second, reset))
	}
	for range 3 {
		mustEnter(t, g, epoch, method)
	}
	wantHeld(t, g, epoch, method, poll)
}

// Calls in flight count with their expected cost. The calls behind them wait for
// their answers, not for the reset.
func TestCallsInFlightCount(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(10 * time.Minute)
	call(t, g, epoch, method, ran(20*time.Second, 400*time.Second, reset))
	now := epoch.Add(time.Minute)
	var passes []*Pass
	for range 3 { // 400 + 3*20
		passes = append(passes, mustEnter(t, g, now, method))
	}
	wantHeld(t, g, now, method, poll)
	for _, p := range passes { // cheaper than expected, though the portal did not add up the others
		p.Done(now.Add(2*time.Second), ran(2*time.Second, 402*time.Second, reset))
	}
	now = now.Add(2 * time.Second)
	wantUsed(t, g, now, 406*time.Second) // 400 and three times 2
	mustEnter(t, g, now, method)
}

// Answers of calls that overlap may arrive in any order.
func TestAnswersOfCallsThatOverlap(t *testing.T) {
	t.Run("while no reset is known, the last sum counts: it can fall at any time", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(time.Second, 400*time.Second, time.Time{}))
		first, second := mustEnter(t, g, epoch, method), mustEnter(t, g, epoch, method)
		now := epoch.Add(10 * time.Second)
		first.Done(now, ran(10*time.Second, 410*time.Second, time.Time{}))
		second.Done(now, ran(10*time.Second, 350*time.Second, time.Time{}))
		wantUsed(t, g, now, 350*time.Second)
	})
	t.Run("until the reset, an answer that was overtaken does not lower the sum", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		reset := epoch.Add(10 * time.Minute)
		call(t, g, epoch, method, ran(time.Second, 100*time.Second, reset))
		now := epoch.Add(time.Minute)
		first, second := mustEnter(t, g, now, method), mustEnter(t, g, now, method)
		second.Done(now.Add(3*time.Second), ran(3*time.Second, 104*time.Second, reset))
		first.Done(now.Add(4*time.Second), ran(4*time.Second, 102*time.Second, reset))
		wantUsed(t, g, now, 106*time.Second)
	})
	t.Run("after the reset, an answer from before it does not raise the sum", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		reset := epoch.Add(10 * time.Minute)
		call(t, g, epoch, method, ran(time.Second, 100*time.Second, reset))
		now := epoch.Add(time.Minute)
		first, second := mustEnter(t, g, now, method), mustEnter(t, g, now, method)
		second.Done(reset.Add(10*time.Second), ran(time.Second, 5*time.Second, reset.Add(time.Minute)))
		first.Done(reset.Add(11*time.Second), ran(time.Minute, 110*time.Second, reset))
		wantUsed(t, g, now, 5*time.Second)
	})
	t.Run("an answer that is long in coming does not lower the sum to what it was when the call began", func(t *testing.T) {
		g := newGuard(budgetLimit, 10)
		at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
		used := func(s int) Answer { return ran(time.Second, time.Duration(s)*time.Second, at(300)) }
		long := mustEnter(t, g, at(0), method)
		for i := range 9 {
			mustEnter(t, g, at(2+i), method).Done(at(3+i), used(120+20*i))
		}
		long.Done(at(60), used(100)) // its header came after a second
		if got := g.List(at(60), "u", 1)[0].Used; got < 280*time.Second {
			t.Errorf("got a sum of %v, want 280 s or more", got)
		}
	})
}

// After a reset the sum may still be too high. So one call at a time is let in as
// a probe, until an answer reports a lower sum.
func TestProbesAfterAReset(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(time.Minute)
	call(t, g, epoch, method, ran(10*time.Second, 480*time.Second, reset))
	for range 3 {
		now := reset
		probe := mustEnter(t, g, now, method)
		wantHeld(t, g, now.Add(5*time.Second), method, poll)
		reset = reset.Add(time.Minute)
		probe.Done(now.Add(10*time.Second), ran(10*time.Second, 478*time.Second, reset))
		wantHeld(t, g, now.Add(10*time.Second), method, 50*time.Second)
	}
	mustEnter(t, g, reset, method).Done(reset, Answer{}) // it was never sent
	mustEnter(t, g, reset, method).Done(reset, Answer{Ran: true})
	mustEnter(t, g, reset, method) // the one before failed and reported no sum: still one at a time
	wantHeld(t, g, reset, method, poll)
}

// After the portal has refused a method without a known reset, the probes have
// pauses that double up to ten minutes. Refusals of calls that were sent together
// count as one. The first call that is let in opens the method.
func TestRefusedMethodWithoutAReset(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	now := epoch
	together := []*Pass{mustEnter(t, g, now, method), mustEnter(t, g, now, method), mustEnter(t, g, now, method)}
	straggler := mustEnter(t, g, now, method)
	for _, p := range together {
		p.Done(now, Answer{Blocked: true})
	}
	straggler.Done(now.Add(time.Second), Answer{Ran: true})
	for _, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
		wantHeld(t, g, now, method, pause*time.Minute)
		now = now.Add(pause * time.Minute)
		call(t, g, now, method, Answer{Blocked: true})
	}
	if r := g.Ratio(now, "u"); r != 1 {
		t.Errorf("got a ratio of %v, want 1 for a refused method", r)
	}
	now = now.Add(10 * time.Minute)
	call(t, g, now, method, Answer{Ran: true})
	for range 10 {
		mustEnter(t, g, now, method)
	}
	call(t, g, now, method, Answer{Blocked: true})
	wantHeld(t, g, now, method, time.Minute) // the next refusal starts with the shortest pause
}

// A refused method is held until the reset that earlier answers announced, and
// that reset is used once.
func TestRefusedMethodWithAReset(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 100*time.Second, epoch.Add(90*time.Second)))
	call(t, g, epoch.Add(10*time.Second), method, Answer{Blocked: true}) // another program uses it too
	wantHeld(t, g, epoch.Add(30*time.Second), method, time.Minute)
	now := epoch.Add(90 * time.Second)
	call(t, g, now, method, Answer{Blocked: true})
	wantHeld(t, g, now, method, basket)
	now = now.Add(basket)
	call(t, g, now, method, Answer{Ran: true})
	if s := g.List(now, "u", 1)[0]; s.Used != 0 || s.Blocked || !s.HeldUntil.IsZero() {
		t.Errorf("let in again: got %+v, want no sum and nothing held", s)
	}
}

// A reset that cannot be right is not believed.
func TestReportedReset(t *testing.T) {
	for name, c := range map[string]struct {
		reset time.Time
		want  time.Duration
	}{
		"a reset to come is waited for":          {epoch.Add(time.Minute + time.Second), time.Minute + time.Second},
		"a reset in the past is unknown":         {epoch.Add(-time.Hour), basket},
		"a reset at this instant is unknown":     {epoch, basket},
		"without a reset there is a pause":       {time.Time{}, basket},
		"a reset that is far off is ten minutes": {epoch.Add(1000 * time.Hour), window + slack},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(budgetLimit, 100)
			call(t, g, epoch, method, ran(0, 480*time.Second, c.reset))
			wantHeld(t, g, epoch, method, c.want)
			if at := g.List(epoch, "u", 1)[0].ResetAt; !at.IsZero() && !at.After(epoch) {
				t.Errorf("got a reset at %v, want one to come or none", at)
			}
		})
	}
}

// What a batch reports of its commands raises a sum and never lowers it. A
// command that is refused within a batch has its method held.
func TestLearningFromABatch(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 300*time.Second, epoch.Add(time.Minute)))
	g.Learn(epoch, method, Usage{Known: true, Used: 2 * time.Second})
	g.Learn(epoch, method, Usage{})
	wantUsed(t, g, epoch, 300*time.Second)
	g.Learn(epoch, method, Usage{Known: true, Used: 300 * time.Second, ResetAt: epoch.Add(9 * time.Minute)})
	if at := g.List(epoch, "u", 1)[0].ResetAt; at != epoch.Add(time.Minute) {
		t.Errorf("got a reset at %v, want %v: the sum was not raised", at, epoch.Add(time.Minute))
	}
	g.Learn(epoch, method, Usage{Known: true, Used: 479 * time.Second})
	wantHeld(t, g, epoch, method, time.Minute)
	other := Key{"u", "app", "crm.deal.list"}
	g.Blocked(epoch, other)
	wantHeld(t, g, epoch, other, basket)
}

// With a limit of 0 all calls are let in, also after a refusal, and what is
// reported is shown.
func TestWithoutALimit(t *testing.T) {
	g := newGuard(0, 100)
	call(t, g, epoch, method, ran(time.Second, 900*time.Second, epoch.Add(time.Minute)))
	if s := g.List(epoch, "u", 9)[0]; !s.HeldUntil.IsZero() {
		t.Errorf("got %+v, want nothing held", s)
	}
	call(t, g, epoch.Add(time.Second), method, Answer{Blocked: true})
	mustEnter(t, g, epoch.Add(2*time.Second), method)
	if s := g.List(epoch.Add(2*time.Second), "u", 9)[0]; s.Used != 900*time.Second || s.Ratio != 0 || !s.Blocked {
		t.Errorf("got %+v, want 900 s used, no ratio, and blocked by the portal", s)
	}
}

// A caller who does not wait may call a method of which nothing is known.
func TestUnknownMethodNeedsNoWait(t *testing.T) {
	g := newGuard(budgetLimit, 10)
	if pass, _, r := g.Enter(epoch, method, epoch.Add(-time.Millisecond)); pass == nil {
		t.Errorf("got %v, want a pass", r)
	}
}

// A method that costs more than the limit can still be called.
func TestMethodThatCostsMoreThanTheLimit(t *testing.T) {
	g := newGuard(10*time.Second, 100)
	call(t, g, epoch, method, ran(30*time.Second, 30*time.Second, epoch.Add(10*time.Minute)))
	call(t, g, epoch.Add(10*time.Minute), method, ran(30*time.Second, 0, time.Time{}))
	mustEnter(t, g, epoch.Add(11*time.Minute), method)
}

// Ten minutes after a sum was reported nothing can be left of it.
func TestOldSumsExpire(t *testing.T) {
	t.Run("also when every probe ends without an answer", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(time.Second, 480*time.Second, time.Time{}))
		now := epoch
		for range 10 {
			now = now.Add(time.Minute)
			if p, _, _ := g.Enter(now, method, now); p != nil {
				p.Done(now, Answer{})
			}
		}
		now = now.Add(slack + 2*time.Second)
		for range 5 {
			mustEnter(t, g, now, method)
		}
	})
	t.Run("a sum is kept for 610 s after it was reported, a method for 610 s after it was asked for", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(0, 100*time.Second, time.Time{}))
		asked := epoch.Add(time.Minute)
		mustEnter(t, g, asked, method).Done(asked, Answer{})
		const kept = 610 * time.Second
		wantUsed(t, g, epoch.Add(kept), 100*time.Second)
		wantUsed(t, g, epoch.Add(kept+1), 0)
		if n := len(g.List(asked.Add(kept), "u", 1)); n != 1 {
			t.Errorf("610 s after it was asked for: got %d methods, want 1", n)
		}
		if n := len(g.List(asked.Add(kept+1), "u", 1)); n != 0 {
			t.Errorf("more than 610 s after it was asked for: got %d methods, want none", n)
		}
	})
	t.Run("a method that the portal refused stays held", func(t *testing.T) {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(time.Second, 100*time.Second, time.Time{}))
		call(t, g, epoch.Add(10*time.Minute), method, Answer{Blocked: true})
		now := epoch.Add(10*time.Minute + 30*time.Second)
		wantHeld(t, g, now, method, 30*time.Second)
		if s := g.List(now, "u", 1)[0]; s.Used != 0 || !s.Blocked || s.Ratio != 1 {
			t.Errorf("got %+v, want no sum, blocked, and a ratio of 1", s)
		}
	})
}

// The methods that have used most are listed first.
func TestList(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	for i := range 10 {
		k := Key{"u", "app", fmt.Sprint(i * 7 % 10)}
		call(t, g, epoch, k, ran(time.Second, time.Duration(i*7%10)*time.Second, time.Time{}))
	}
	var names strings.Builder
	for _, s := range g.List(epoch, "u", 3) {
		names.WriteString(s.Method)
	}
	if names.String() != "987" {
		t.Errorf("got the methods %q, want 987", names.String())
	}
	for upstream, want := range map[string]float64{"u": 9. / 480, "v": 0} {
		if got := g.Ratio(epoch, upstream); got != want {
			t.Errorf("%s: got a ratio of %v, want %v", upstream, got, want)
		}
	}
}

// The budgets of an upstream are those that are remembered, whichever of them go.
func TestListedAreRemembered(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	g := newGuard(budgetLimit, 10)
	for range 2000 {
		k := Key{string(rune('u' + random.IntN(3))), "app", fmt.Sprint(random.IntN(12))}
		switch random.IntN(3) {
		case 0:
			g.budgets.Remove(k)
		default:
			g.Learn(epoch, k, Usage{Known: true, Used: time.Second})
		}
		want := make(map[Key]bool)
		for _, k := range g.budgets.Keys() {
			want[k] = true
		}
		got := make(map[Key]bool)
		for _, upstream := range []string{"u", "v", "w"} {
			for _, s := range g.List(epoch, upstream, 100) {
				got[s.Key] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got the budgets %v, want %v", got, want)
		}
	}
}

// However many methods, credentials and upstreams are named, the Guard stays
// within its bound. Methods that never cost anything take no memory and displace
// no other. After ten minutes nothing is left.
func TestMemoryIsBounded(t *testing.T) {
	const n, keep = 200_000, 1000
	g := newGuard(budgetLimit, keep)
	g.Blocked(epoch, method)
	for i := range 10 * keep {
		free := Key{"u", "app", fmt.Sprint(i)}
		call(t, g, epoch, free, Answer{Ran: true})
		g.Learn(epoch, free, Usage{Known: true})
	}
	wantHeld(t, g, epoch, method, basket)
	if got := len(g.List(epoch, "u", n)); got != 1 {
		t.Errorf("got %d budgets, want 1: the other methods cost nothing", got)
	}
	before := heap()
	now := epoch
	for i := range n {
		k := [...]Key{{"u", "app", fmt.Sprint(i)}, {"u", fmt.Sprint(i), "m"}, {fmt.Sprint(i), "app", "m"}}[i%3]
		now = now.Add(time.Microsecond)
		g.Learn(now, k, Usage{Known: true, Used: time.Second})
	}
	if g.budgets.Len() != keep || len(g.upstreams) > keep {
		t.Errorf("got %d budgets of %d upstreams, want %d", g.budgets.Len(), len(g.upstreams), keep)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("memory grew by %d bytes, want 2 MiB at most", grown)
	}
	now = now.Add(window + slack + time.Second)
	if g.Ratio(now, "u") != 0 || g.budgets.Len() != 0 || len(g.upstreams) != 0 {
		t.Errorf("got %d budgets of %d upstreams, want none after ten minutes", g.budgets.Len(), len(g.upstreams))
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A call still counts when its budget was displaced while it was in flight.
func TestDisplacedBudgetStillLearns(t *testing.T) {
	g := newGuard(budgetLimit, 1)
	p := mustEnter(t, g, epoch, method)
	mustEnter(t, g, epoch, Key{"u", "app", "other"})
	p.Done(epoch, ran(time.Second, 480*time.Second, epoch.Add(time.Minute)))
	p.Done(epoch, Answer{}) // does nothing
	wantHeld(t, g, epoch, method, time.Minute)
}

// A Guard is safe for concurrent use.
func TestConcurrentUse(t *testing.T) {
	g := newGuard(budgetLimit, 3)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				k := Key{"u", "app", fmt.Sprint((i + j) % 5)}
				now := epoch.Add(time.Duration(j) * time.Second)
				if p, _, _ := g.Enter(now, k, now); p != nil {
					p.Done(now, Answer{Ran: true, Blocked: j%97 == 0, Usage: Usage{Known: j%2 == 0, Used: time.Duration(j) * time.Second}})
				}
				g.Learn(now, k, Usage{Known: true, Used: time.Second})
				g.List(now, "u", 2)
			}
		})
	}
	wg.Wait()
}

package operating

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"b24proxy/limiter"
)

const budgetLimit = 480 * time.Second

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newGuard(limit time.Duration, keep int) *Guard { return New(Config{Limit: limit, Keep: keep}) }

var method = Key{Upstream: "u", Credential: "app", Method: "crm.item.list"}

// ran is the answer of a call that took its cost and tells a sum.
func ran(cost, used time.Duration, reset time.Time) Answer {
	return Answer{Ran: true, Took: cost, Usage: Usage{Known: true, Used: used, ResetAt: reset}}
}

// mustEnter enters where nothing should stand in the way.
func mustEnter(t *testing.T, g *Guard, now time.Time, k Key) *Pass {
	t.Helper()
	p, hold, r := g.Enter(now, k, now)
	if p == nil {
		t.Fatalf("at %v: held %v, refused %v", now.Sub(epoch), hold, r)
	}
	return p
}

// mustWait tells how long a call would have to wait; it must be more than 0.
func mustWait(t *testing.T, g *Guard, now time.Time, k Key) time.Duration {
	t.Helper()
	_, _, r := g.Enter(now, k, now)
	if r == nil || r.Reason != limiter.OperatingTime || r.RetryAfter <= 0 {
		t.Fatalf("at %v: not refused: %v", now.Sub(epoch), r)
	}
	return r.RetryAfter
}

// call makes one call of no length.
func call(t *testing.T, g *Guard, now time.Time, k Key, a Answer) {
	t.Helper()
	mustEnter(t, g, now, k).Done(now.Add(a.Took), a)
}

// Close to the limit a method is held until the reset if that is within the
// caller's wait, else refused until then; other methods, credentials and
// upstreams go on.
func TestClose(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(3 * time.Minute)
	call(t, g, epoch, method, ran(10*time.Second, 470*time.Second, reset))
	now := epoch.Add(time.Minute)
	if _, hold, r := g.Enter(now, method, now.Add(2*time.Minute)); r != nil || hold != 2*time.Minute {
		t.Errorf("held %v, %v", hold, r)
	}
	if d := mustWait(t, g, now, method); d != 2*time.Minute {
		t.Errorf("retry after %v", d)
	}
	for _, k := range []Key{
		{"u", "app", "crm.item.get"}, {"u", "other", "crm.item.list"}, {"v", "app", "crm.item.list"},
	} {
		mustEnter(t, g, now, k)
	}
	if s := g.List(now, "u", 1)[0]; s.HeldUntil != reset || s.Blocked || s.Used != 470*time.Second {
		t.Errorf("%+v", s)
	}
}

// With the mean cost of a call the limit would not be passed: it goes. Never is
// more than 99 % planned to be spent.
func TestExpectedCost(t *testing.T) {
	const mean = 10 * time.Second
	full := newGuard(budgetLimit, 1).ceiling()
	for used, goes := range map[time.Duration]bool{
		464 * time.Second: true, full - mean: true, full - mean + 1: false, 466 * time.Second: false, 481 * time.Second: false,
	} {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(mean, used, epoch.Add(time.Minute)))
		if p, _, _ := g.Enter(epoch.Add(20*time.Second), method, epoch.Add(20*time.Second)); (p != nil) != goes {
			t.Errorf("used %v, mean %v: goes is %v", used, mean, p != nil)
		}
	}
}

// Calls that cost nothing lower the mean: with 440 s used, three calls of 10 s
// may be under way, but only one of 20 s.
func TestFreeCallsLowerTheMean(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(10 * time.Minute)
	for range 2 {
		call(t, g, epoch, method, ran(20*time.Second, 440*time.Second, reset))
	}
	for range 3 {
		mustEnter(t, g, epoch, method)
	}
	mustWait(t, g, epoch, method)
}

// Calls under way count at their expected cost, and those behind them wait for
// their answers, not for the reset.
func TestParallel(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(10 * time.Minute)
	call(t, g, epoch, method, ran(20*time.Second, 400*time.Second, reset))
	now := epoch.Add(time.Minute)
	var passes []*Pass
	for range 3 { // 400 + 3*20
		passes = append(passes, mustEnter(t, g, now, method))
	}
	if d := mustWait(t, g, now, method); d != poll {
		t.Errorf("retry after %v", d)
	}
	for _, p := range passes { // cheaper than feared, though the portal told none of the others
		p.Done(now.Add(2*time.Second), ran(2*time.Second, 402*time.Second, reset))
	}
	now = now.Add(2 * time.Second)
	if used := g.List(now, "u", 1)[0].Used; used != 406*time.Second {
		t.Errorf("400 and three times 2 is not %v", used)
	}
	mustEnter(t, g, now, method)
}

// Where no reset is told the sum can fall at any time: it is taken as told, also
// from calls that overlapped.
func TestParallelNoReset(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 400*time.Second, time.Time{}))
	first, second := mustEnter(t, g, epoch, method), mustEnter(t, g, epoch, method)
	now := epoch.Add(10 * time.Second)
	first.Done(now, ran(10*time.Second, 410*time.Second, time.Time{}))
	second.Done(now, ran(10*time.Second, 350*time.Second, time.Time{}))
	if used := g.List(now, "u", 1)[0].Used; used != 350*time.Second {
		t.Errorf("used %v", used)
	}
}

// Answers that overtake each other do not lower the sum.
func TestOvertaken(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(10 * time.Minute)
	call(t, g, epoch, method, ran(time.Second, 100*time.Second, reset))
	now := epoch.Add(time.Minute)
	first, second := mustEnter(t, g, now, method), mustEnter(t, g, now, method)
	second.Done(now.Add(3*time.Second), ran(3*time.Second, 104*time.Second, reset))
	first.Done(now.Add(4*time.Second), ran(4*time.Second, 102*time.Second, reset))
	if used := g.List(now, "u", 1)[0].Used; used != 106*time.Second {
		t.Errorf("used %v", used)
	}
	third, fourth := mustEnter(t, g, now, method), mustEnter(t, g, now, method)
	later := reset.Add(time.Minute)
	fourth.Done(now.Add(9*time.Minute+10*time.Second), ran(time.Second, 5*time.Second, later))
	third.Done(now.Add(9*time.Minute+11*time.Second), ran(time.Minute, 110*time.Second, reset))
	if used := g.List(now, "u", 1)[0].Used; used != 5*time.Second {
		t.Errorf("after a reset: used %v", used)
	}
}

// After the reset the sum may still be above: one probe at a time, until an
// answer tells.
func TestProbes(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	reset := epoch.Add(time.Minute)
	call(t, g, epoch, method, ran(10*time.Second, 480*time.Second, reset))
	for range 3 {
		now := reset
		probe := mustEnter(t, g, now, method)
		if d := mustWait(t, g, now.Add(5*time.Second), method); d != poll {
			t.Errorf("a second call beside the probe: %v", d)
		}
		reset = reset.Add(time.Minute)
		probe.Done(now.Add(10*time.Second), ran(10*time.Second, 478*time.Second, reset))
		if d := mustWait(t, g, now.Add(10*time.Second), method); d != 50*time.Second {
			t.Errorf("wait %v", d)
		}
	}
	mustEnter(t, g, reset, method).Done(reset, Answer{}) // never sent
	mustEnter(t, g, reset, method).Done(reset, Answer{Ran: true})
	mustEnter(t, g, reset, method) // what failed told no sum: still one at a time
	mustWait(t, g, reset, method)
}

// After a refusal by the portal with an unknown reset, probes go with pauses
// that double to ten minutes; the refusals of calls that went together count
// once. The first call that is let in opens the method.
func TestBlockedUnknown(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	now := epoch
	together := []*Pass{mustEnter(t, g, now, method), mustEnter(t, g, now, method), mustEnter(t, g, now, method)}
	straggler := mustEnter(t, g, now, method)
	for _, p := range together {
		p.Done(now, Answer{Blocked: true})
	}
	straggler.Done(now.Add(time.Second), Answer{Ran: true})
	for _, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if d := mustWait(t, g, now, method); d != pause*time.Minute {
			t.Fatalf("pause %v, want %d min", d, pause)
		}
		now = now.Add(pause * time.Minute)
		call(t, g, now, method, Answer{Blocked: true})
	}
	if r := g.Ratio(now, "u"); r != 1 {
		t.Errorf("ratio %v of a blocked method", r)
	}
	now = now.Add(10 * time.Minute)
	call(t, g, now, method, Answer{Ran: true})
	for range 10 {
		mustEnter(t, g, now, method)
	}
	call(t, g, now, method, Answer{Blocked: true})
	if d := mustWait(t, g, now, method); d != time.Minute {
		t.Errorf("the next block begins with a pause of %v", d)
	}
}

// A refusal waits for the reset that earlier answers told, and for it alone.
func TestBlockedUntilReset(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 100*time.Second, epoch.Add(90*time.Second)))
	call(t, g, epoch.Add(10*time.Second), method, Answer{Blocked: true}) // others spend it too
	now := epoch.Add(30 * time.Second)
	if d := mustWait(t, g, now, method); d != time.Minute {
		t.Errorf("wait %v", d)
	}
	now = epoch.Add(90 * time.Second)
	call(t, g, now, method, Answer{Blocked: true})
	if d := mustWait(t, g, now, method); d != basket {
		t.Errorf("then %v", d)
	}
	now = now.Add(basket)
	call(t, g, now, method, Answer{Ran: true}) // the sum is not known any more
	if s := g.List(now, "u", 1)[0]; s.Used != 0 || s.Blocked || !s.HeldUntil.IsZero() {
		t.Errorf("let in again: %+v", s)
	}
}

// A reset in the past is unknown, one absurdly far is bounded.
func TestReset(t *testing.T) {
	for told, want := range map[time.Duration]time.Duration{
		-time.Hour: basket, 0: basket, 1000 * time.Hour: window + slack, time.Minute: time.Minute,
	} {
		g := newGuard(budgetLimit, 100)
		call(t, g, epoch, method, ran(0, 480*time.Second, epoch.Add(told)))
		if d := mustWait(t, g, epoch, method); d != want {
			t.Errorf("reset told in %v: wait %v, want %v", told, d, want)
		}
		if at := g.List(epoch, "u", 1)[0].ResetAt; !at.IsZero() && !at.After(epoch) {
			t.Errorf("reset told in %v: shown as %v", told, at)
		}
	}
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(0, 480*time.Second, time.Time{}))
	if d := mustWait(t, g, epoch, method); d != basket {
		t.Errorf("no reset told: wait %v", d)
	}
}

// What a batch tells of its commands raises a sum and never lowers it; a
// command refused within a batch closes its method.
func TestLearn(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 300*time.Second, epoch.Add(time.Minute)))
	g.Learn(epoch, method, Usage{Known: true, Used: 2 * time.Second})
	g.Learn(epoch, method, Usage{})
	if used := g.List(epoch, "u", 1)[0].Used; used != 300*time.Second {
		t.Errorf("lowered to %v", used)
	}
	g.Learn(epoch, method, Usage{Known: true, Used: 300 * time.Second, ResetAt: epoch.Add(9 * time.Minute)})
	if at := g.List(epoch, "u", 1)[0].ResetAt; at != epoch.Add(time.Minute) {
		t.Errorf("not raised, but the reset is put off to %v", at)
	}
	g.Learn(epoch, method, Usage{Known: true, Used: 479 * time.Second})
	if d := mustWait(t, g, epoch, method); d != time.Minute {
		t.Errorf("raised, but waits %v", d)
	}
	other := Key{"u", "app", "crm.deal.list"}
	g.Blocked(epoch, other)
	if d := mustWait(t, g, epoch, other); d != basket {
		t.Errorf("blocked, but waits %v", d)
	}
}

// With a limit of 0 all calls go, also after a refusal, and what is told is
// shown.
func TestOff(t *testing.T) {
	g := newGuard(0, 100)
	call(t, g, epoch, method, ran(time.Second, 900*time.Second, epoch.Add(time.Minute)))
	if s := g.List(epoch, "u", 9)[0]; !s.HeldUntil.IsZero() {
		t.Errorf("closed: %+v", s)
	}
	call(t, g, epoch.Add(time.Second), method, Answer{Blocked: true})
	mustEnter(t, g, epoch.Add(2*time.Second), method)
	if s := g.List(epoch.Add(2*time.Second), "u", 9)[0]; s.Used != 900*time.Second || s.Ratio != 0 || !s.Blocked {
		t.Errorf("%+v", s)
	}
}

// After ten minutes nothing can be left of a sum, whatever was told last.
func TestLapses(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 480*time.Second, time.Time{}))
	now := epoch
	for range 10 { // asked for, but every probe ends without a word
		now = now.Add(time.Minute)
		if p, _, _ := g.Enter(now, method, now); p != nil {
			p.Done(now, Answer{})
		}
	}
	now = now.Add(slack + 2*time.Second)
	for range 5 {
		mustEnter(t, g, now, method)
	}
}

// A sum is kept for ten minutes and ten seconds after it was told, a method for
// as long after it was asked for.
func TestLapsesOnTime(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(0, 100*time.Second, time.Time{}))
	asked := epoch.Add(time.Minute)
	mustEnter(t, g, asked, method).Done(asked, Answer{})
	const kept = 610 * time.Second
	if s := g.List(epoch.Add(kept), "u", 1)[0]; s.Used != 100*time.Second {
		t.Errorf("gone too early: %+v", s)
	}
	if s := g.List(epoch.Add(kept+1), "u", 1)[0]; s.Used != 0 {
		t.Errorf("kept for too long: %+v", s)
	}
	if n := len(g.List(asked.Add(kept), "u", 1)); n != 1 {
		t.Error("the method is forgotten too early")
	}
	if n := len(g.List(asked.Add(kept+1), "u", 1)); n != 0 {
		t.Error("the method is kept for too long")
	}
}

// A block outlives what is known of the sum.
func TestBlockDoesNotLapse(t *testing.T) {
	g := newGuard(budgetLimit, 100)
	call(t, g, epoch, method, ran(time.Second, 100*time.Second, time.Time{}))
	call(t, g, epoch.Add(10*time.Minute), method, Answer{Blocked: true})
	now := epoch.Add(10*time.Minute + 30*time.Second)
	if d := mustWait(t, g, now, method); d != 30*time.Second {
		t.Errorf("wait %v", d)
	}
	if s := g.List(now, "u", 1)[0]; s.Used != 0 || !s.Blocked || s.Ratio != 1 {
		t.Errorf("%+v", s)
	}
}

// A method that costs more than the limit can still be called.
func TestCostlyMethod(t *testing.T) {
	g := newGuard(10*time.Second, 100)
	call(t, g, epoch, method, ran(30*time.Second, 30*time.Second, epoch.Add(10*time.Minute)))
	call(t, g, epoch.Add(10*time.Minute), method, ran(30*time.Second, 0, time.Time{}))
	mustEnter(t, g, epoch.Add(11*time.Minute), method)
}

// The most spent methods come first.
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
	if names.String() != "987" || g.Ratio(epoch, "u") != 9./480 || g.Ratio(epoch, "v") != 0 {
		t.Errorf("%q, %v", names.String(), g.Ratio(epoch, "u"))
	}
}

// However many methods, credentials and upstreams are named, they stay within
// the bound; methods that never cost anything take no memory and displace
// nobody; all is gone after ten minutes.
func TestBound(t *testing.T) {
	const n, keep = 200_000, 1000
	g := newGuard(budgetLimit, keep)
	g.Blocked(epoch, method)
	for i := range 10 * keep {
		free := Key{"u", "app", fmt.Sprint(i)}
		call(t, g, epoch, free, Answer{Ran: true})
		g.Learn(epoch, free, Usage{Known: true})
	}
	mustWait(t, g, epoch, method)
	if len(g.List(epoch, "u", n)) != 1 {
		t.Errorf("free methods are kept")
	}
	before := heap()
	now := epoch
	for i := range n {
		k := [...]Key{{"u", "app", fmt.Sprint(i)}, {"u", fmt.Sprint(i), "m"}, {fmt.Sprint(i), "app", "m"}}[i%3]
		now = now.Add(time.Microsecond)
		g.Learn(now, k, Usage{Known: true, Used: time.Second})
	}
	if g.budgets.Len() != keep || len(g.upstreams) > keep {
		t.Errorf("%d budgets of %d upstreams are kept", g.budgets.Len(), len(g.upstreams))
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	now = now.Add(window + slack + time.Second)
	if g.Ratio(now, "u") != 0 || g.budgets.Len() != 0 || len(g.upstreams) != 0 {
		t.Errorf("%d budgets of %d upstreams are left", g.budgets.Len(), len(g.upstreams))
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A budget that was displaced while its call was under way still learns.
func TestDisplaced(t *testing.T) {
	g := newGuard(budgetLimit, 1)
	p := mustEnter(t, g, epoch, method)
	mustEnter(t, g, epoch, Key{"u", "app", "other"})
	p.Done(epoch, ran(time.Second, 480*time.Second, epoch.Add(time.Minute)))
	p.Done(epoch, Answer{}) // nothing
	mustWait(t, g, epoch, method)
}

// Guard is safe for concurrent use.
func TestConcurrent(t *testing.T) {
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

// A long answer that ends late does not take the sum back to what it was when
// its call began.
func TestOfALongAnswer(t *testing.T) {
	g := newGuard(480*time.Second, 10)
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	told := func(used int) Answer {
		return Answer{Ran: true, Took: time.Second, Usage: Usage{Known: true, Used: time.Duration(used) * time.Second, ResetAt: at(300)}}
	}
	k := Key{"u", "c", "m"}
	long := mustEnter(t, g, at(0), k)
	for i := range 9 {
		mustEnter(t, g, at(2+i), k).Done(at(3+i), told(120+20*i))
	}
	long.Done(at(60), told(100)) // its header came after a second
	if used := g.List(at(60), "u", 1)[0].Used; used < 280*time.Second {
		t.Errorf("the sum fell to %v", used)
	}
}

// Without patience a method of which nothing is known may be called.
func TestWithoutPatience(t *testing.T) {
	g := newGuard(480*time.Second, 10)
	if pass, _, refused := g.Enter(epoch, Key{"u", "c", "m"}, epoch.Add(-time.Millisecond)); pass == nil {
		t.Errorf("refused: %v", refused)
	}
}

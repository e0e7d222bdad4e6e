package limiter

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// What the upstream does with operating time, and what we make of it.
const (
	budgetWindow = 10 * time.Minute // how far back a sum reaches (documented)
	budgetBasket = time.Minute      // the part of a sum that expires at once (documented)
	budgetSlack  = 10 * time.Second // for clocks that differ and answers on their way
	budgetShare  = 0.99             // of the limit: more is not planned to be spent
	budgetPoll   = time.Second      // between two looks at calls under way
	budgetMemory = 16               // increments that weigh in the mean cost
)

// Budgets guards methods that pay with time: the upstream adds up how long a
// method worked for a credential within ten minutes, and above a limit it
// refuses that method, and no other, for some minutes.
//
// A call asks Enter, and its pass is told the answer with Done. A sum is what
// the answers say, plus the expected cost of the calls under way, which the
// upstream will book only after they have ended (read in the server's source).
// A method whose sum comes close to the limit, or that the upstream has
// refused, is closed: until the reset that the upstream announced, or, where it
// announced none, for a pause that doubles from one minute to ten. Since only a
// part of the sum goes at a reset, one call at a time then probes, until an
// answer says that the sum is low again, or a refused method is let in.
//
// That is right for servers with ten baskets of a minute each and for newer
// ones, which ban a method for 300 s and start from zero (both read in the
// server's source), since neither number is relied on; and for servers that
// tell nothing: there only refusals count.
//
// Methods of which nothing is known take no memory, the others are forgotten
// after ten minutes without a call. Budgets is safe for concurrent use; time is
// told to it and must not run backwards.
type Budgets struct {
	limit time.Duration

	mu        sync.Mutex
	budgets   *LRU[BudgetKey, *budget]
	upstreams map[string]map[BudgetKey]*budget // the same, for those who look
}

// A BudgetKey names one budget as the upstream keeps it (read in the server's
// source). It is shown to operators: Credential stands for the application or
// webhook and is never the secret itself; Method is in lower case.
type BudgetKey struct{ Upstream, Credential, Method string }

// NewBudgets makes a guard of methods that may each spend the limit. With a
// limit of 0 every call may go, and what is learned is for display. At most
// keep budgets are remembered; the least recently used go first.
func NewBudgets(limit time.Duration, keep int) *Budgets {
	return &Budgets{
		limit:     limit,
		budgets:   NewLRU[BudgetKey, *budget](keep),
		upstreams: make(map[string]map[BudgetKey]*budget),
	}
}

// Usage is what an answer tells of a budget. ResetAt is an instant of our clock,
// while the upstream announces one of its own: the time at which it finished,
// in the same answer, tells the difference. A reset in the past counts as not
// told, one beyond ten minutes as ten.
type Usage struct {
	Told    bool          // false: nothing
	Used    time.Duration // the sum, this call included
	ResetAt time.Time     // when it falls; zero: not told
}

// A BudgetAnswer is what became of a call. The zero value says that nothing is
// known: it was not sent, or not answered.
type BudgetAnswer struct {
	Ran     bool // the method was let in: it succeeded, or failed with an error of its own
	Blocked bool // the method was refused for its operating time
	Usage   Usage
	Took    time.Duration // from sending to the answer; no call costs more
}

// A BudgetPass is a call that Enter let go. Done must be called for each.
type BudgetPass struct {
	guard   *Budgets
	key     BudgetKey
	budget  *budget
	entered time.Time
	base    time.Duration // the sum known on entering
	done    bool
}

// Enter asks whether a call may go: exactly one of the three results is set. A
// pass: it may. A hold, never longer than wait: ask again after so long. A
// Rejection, when the caller would not wait that long.
func (g *Budgets) Enter(now time.Time, k BudgetKey, wait time.Duration) (pass *BudgetPass, hold time.Duration, refused *Rejection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.findLocked(now, k)
	if g.limit > 0 {
		switch due := b.due(now, g.ceiling()); {
		case due > 0 && due > wait:
			return nil, 0, &Rejection{Reason: OperatingTime, RetryAfter: due}
		case due > 0:
			return nil, due, nil
		}
	}
	pass = &BudgetPass{guard: g, key: k, budget: b, entered: now, base: b.used}
	b.underway++
	if b.closed() {
		b.probe = pass
	}
	return pass, 0, nil
}

// Done books the end of a call. Later calls do nothing.
func (p *BudgetPass) Done(now time.Time, a BudgetAnswer) {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	p.budget.underway--
	if p.budget.probe == p {
		p.budget.probe = nil
	}
	b := g.findLocked(now, p.key) // another one if ours was displaced
	if a.Usage.Told {
		b.learn(now, p, a)
	}
	switch {
	case a.Blocked:
		b.block(now)
	case a.Usage.Told && b.spent(g.ceiling()):
		b.close(now)
	case a.Usage.Told, a.Ran && b.blocked:
		b.open(p.entered, a.Usage.Told)
	}
	if b.unknown() {
		g.dropLocked(p.key)
	}
}

// Due tells how long until a call should ask again; 0: it may go.
func (g *Budgets) Due(now time.Time, k BudgetKey) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.upstreams[k.Upstream][k]
	if b == nil {
		return 0
	}
	b.lapse(now)
	return b.due(now, g.ceiling())
}

// Learn books what an answer tells of another method than the one called, such
// as a command within a batch. It may raise a sum and never lowers it: some
// servers give each command the running sum of its batch instead of its own
// (read in the server's source).
func (g *Budgets) Learn(now time.Time, k BudgetKey, u Usage) {
	if !u.Told || u.Used <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.findLocked(now, k); u.Used > b.used {
		b.used, b.told = u.Used, now
		b.resetAt = cmp.Or(boundReset(now, u.ResetAt), b.resetAt)
		if b.spent(g.ceiling()) {
			b.close(now)
		}
	}
}

// Blocked books that the upstream refused another method than the one called.
func (g *Budgets) Blocked(now time.Time, k BudgetKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.findLocked(now, k).block(now)
}

// ceiling is what may be planned to be spent; 0 is no end.
func (g *Budgets) ceiling() time.Duration {
	return time.Duration(budgetShare * float64(g.limit))
}

// findLocked finds a budget, or begins one, and has old ones go.
func (g *Budgets) findLocked(now time.Time, k BudgetKey) *budget {
	g.expireLocked(now)
	b, ok := g.budgets.Get(k)
	if !ok {
		b = new(budget)
		if old, _, full := g.budgets.Put(k, b); full {
			g.unlistLocked(old)
		}
		if g.upstreams[k.Upstream] == nil {
			g.upstreams[k.Upstream] = make(map[BudgetKey]*budget)
		}
		g.upstreams[k.Upstream][k] = b
	}
	b.lapse(now)
	b.touched = now
	return b
}

func (g *Budgets) expireLocked(now time.Time) {
	for {
		k, b, ok := g.budgets.Oldest()
		if !ok || now.Sub(b.touched) <= budgetWindow+budgetSlack {
			return
		}
		g.dropLocked(k)
	}
}

func (g *Budgets) dropLocked(k BudgetKey) {
	g.budgets.Remove(k)
	g.unlistLocked(k)
}

func (g *Budgets) unlistLocked(k BudgetKey) {
	delete(g.upstreams[k.Upstream], k)
	if len(g.upstreams[k.Upstream]) == 0 {
		delete(g.upstreams, k.Upstream)
	}
}

// BudgetState is what is known of one budget at a moment.
type BudgetState struct {
	BudgetKey
	Used        time.Duration // without the calls under way
	Ratio       float64       // of the limit; at least 1 while Blocked; 0 if no limit is set
	ResetAt     time.Time     // when the sum falls; zero: unknown
	Blocked     bool          // the upstream refused the method and has not let it in since
	ClosedUntil time.Time     // no call goes before; zero: it is open
	UnderWay    int           // calls
}

// List describes an upstream's n budgets with the highest ratios, these first.
func (g *Budgets) List(now time.Time, upstream string, n int) []BudgetState {
	g.mu.Lock()
	g.expireLocked(now)
	states := make([]BudgetState, 0, len(g.upstreams[upstream]))
	for k, b := range g.upstreams[upstream] {
		b.lapse(now)
		states = append(states, b.state(k, g.limit))
	}
	g.mu.Unlock()
	slices.SortFunc(states, func(a, b BudgetState) int {
		return cmp.Or(cmp.Compare(b.Ratio, a.Ratio), cmp.Compare(b.Used, a.Used),
			cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Method, b.Method))
	})
	return states[:min(n, len(states))]
}

// Ratio is the highest ratio of an upstream's budgets, 0 if it has none.
func (g *Budgets) Ratio(now time.Time, upstream string) (highest float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expireLocked(now)
	for _, b := range g.upstreams[upstream] {
		b.lapse(now)
		highest = max(highest, b.ratio(g.limit))
	}
	return highest
}

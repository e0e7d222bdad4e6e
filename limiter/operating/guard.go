// Package operating keeps the methods of an upstream below its limit on
// operating time: the upstream adds up how long a method worked for a credential
// within ten minutes, and above a limit it refuses that method, and no other,
// for some minutes.
//
// A call waits with Wait, asks to be let in with Enter, and reports its answer
// with Pass.Done. What a method has used is what the answers say, plus the
// expected cost of the calls in flight, which the upstream adds only after they
// have ended. Calls of a method are held when it comes close to the limit, or when
// the upstream has refused it: until the reset that the upstream announced, or, where
// it announced none, for a pause that doubles from one minute to ten. Only a part of the sum goes at a reset, so
// after it one call at a time probes, until an answer shows that the sum is low
// again, or that a refused method is let in.
//
// This holds for servers with ten baskets of a minute each, for newer ones,
// which ban a method for 300 s and start from zero, and for servers that report
// nothing: there only refusals count. What is known about all this is in
// proxy/bitrix24/README.md#operating-time.
package operating

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"b24proxy/limiter"
)

// What the upstream does with operating time (proxy/bitrix24/README.md#operating-time),
// and what we make of it.
const (
	window = 10 * time.Minute // how far back a sum reaches
	basket = time.Minute      // the part of a sum that expires at once
	slack  = 10 * time.Second // for clocks that differ and for answers on their way
	share  = 0.99             // of the limit that we plan to spend
	poll   = time.Second      // between two looks at calls in flight
	memory = 16               // costs that count in the mean
)

// Config is what a Guard is made with.
type Config struct {
	Limit      time.Duration // that a method may use; 0: calls are never held, and what is learned is for display
	Keep       int           // budgets that are remembered; the least recently used go first
	MaxWaiting int           // calls of one upstream that may wait at once
}

// A Guard holds the calls of methods that have used up their operating time.
// Methods of which nothing is known take no memory, the others are forgotten
// after ten minutes without a call. A Guard is safe for concurrent use; the
// instants that it is given must not run backwards.
type Guard struct {
	limit   time.Duration
	waiting waiting
	closed  chan struct{}
	close   func()

	mu        sync.Mutex
	budgets   *simplelru.LRU[Key, *budget]
	upstreams map[string]*budget // the same, by upstream: the first of a list
}

// A Key names one budget as the upstream keeps it
// (proxy/bitrix24/README.md#operating-time). It is shown to operators: Credential stands for the application or
// webhook and is never the secret itself; Method is in lower case.
type Key struct{ Upstream, Credential, Method string }

// New makes a Guard that knows nothing yet.
func New(c Config) *Guard {
	g := &Guard{
		limit:     c.Limit,
		waiting:   waiting{most: c.MaxWaiting, calls: make(map[string]int)},
		closed:    make(chan struct{}),
		upstreams: make(map[string]*budget),
	}
	g.close = sync.OnceFunc(func() { close(g.closed) })
	g.budgets, _ = simplelru.NewLRU(max(1, c.Keep), g.unlistLocked) // fails only below a size of 1
	return g
}

// Usage is what an answer reports of a budget. ResetAt is an instant of our
// clock. The upstream announces one of its own; the time at which it finished,
// in the same answer, shows the difference. A reset in the past counts as
// unknown, one beyond ten minutes as ten minutes.
type Usage struct {
	Known   bool          // false: nothing is reported
	Used    time.Duration // the sum, this call included
	ResetAt time.Time     // when it falls; zero: unknown
}

// An Answer is how a call ended. The zero value says that nothing is known: it
// was not sent, or not answered.
type Answer struct {
	Ran     bool // the method was let in: it succeeded, or failed with an error of its own
	Blocked bool // the method was refused for its operating time
	Usage   Usage
	Took    time.Duration // from sending to the answer; no call costs more
}

// A Pass is a call that Enter let in. Done must be called for each.
type Pass struct {
	guard   *Guard
	key     Key
	budget  *budget
	entered time.Time
	base    time.Duration // the sum that was known on entering
	done    bool
}

// Enter asks to let a call in. Exactly one of the three results is set: a pass;
// or how long to wait before asking again, which is not after the deadline; or a
// Rejection, when the wait would end after the deadline.
func (g *Guard) Enter(now time.Time, k Key, deadline time.Time) (pass *Pass, wait time.Duration, rejection *limiter.Rejection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.findLocked(now, k)
	if g.limit > 0 {
		switch due := b.due(now, g.ceiling()); {
		case due > 0 && due > deadline.Sub(now):
			return nil, 0, &limiter.Rejection{Reason: limiter.OperatingTime, RetryAfter: due}
		case due > 0:
			return nil, due, nil
		}
	}
	pass = &Pass{guard: g, key: k, budget: b, entered: now, base: b.used}
	b.inFlight++
	if b.held() {
		b.probe = pass
	}
	return pass, 0, nil
}

// Done reports the end of a call. Later calls do nothing.
func (p *Pass) Done(now time.Time, a Answer) {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	p.budget.inFlight--
	if p.budget.probe == p {
		p.budget.probe = nil
	}
	b := g.findLocked(now, p.key) // another one if ours was displaced
	if a.Usage.Known {
		b.update(now, p, a)
	}
	switch {
	case a.Blocked:
		b.block(now)
	case a.Usage.Known && b.spent(g.ceiling()):
		b.hold(now)
	case a.Usage.Known, a.Ran && b.blocked:
		b.release(p.entered, a.Usage.Known)
	}
	if b.blank() {
		g.budgets.Remove(p.key)
	}
}

// Holds reports whether the calls of a budget are held, or only let in to see whether
// they still have to be.
func (g *Guard) Holds(now time.Time, k Key) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, found := g.budgets.Peek(k)
	if !found {
		return false
	}
	b.expire(now)
	return b.held()
}

// RetryAfter is when a caller should repeat a call that the upstream refused for
// its operating time. It is known, from the upstream, without a limit too.
func (g *Guard) RetryAfter(now time.Time, k Key) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, found := g.budgets.Peek(k)
	if !found {
		return 0
	}
	b.expire(now)
	return b.due(now, g.ceiling())
}

// Learn takes over what an answer reports of another method than the one that
// was called, such as a command within a batch. It may raise a sum and never
// lowers it: some servers report, for each command, the running sum of its batch
// instead of its own (proxy/bitrix24/README.md#operating-time).
func (g *Guard) Learn(now time.Time, k Key, u Usage) {
	if !u.Known || u.Used <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.findLocked(now, k); u.Used > b.used {
		b.used, b.reportedAt = u.Used, now
		b.resetAt = cmp.Or(boundReset(now, u.ResetAt), b.resetAt)
		if b.spent(g.ceiling()) {
			b.hold(now)
		}
	}
}

// Blocked notes that the upstream refused another method than the one that was
// called.
func (g *Guard) Blocked(now time.Time, k Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.findLocked(now, k).block(now)
}

// ceiling is what we plan to spend; 0: there is no limit.
func (g *Guard) ceiling() time.Duration {
	return time.Duration(share * float64(g.limit))
}

// findLocked finds a budget, or begins one, and forgets old ones.
func (g *Guard) findLocked(now time.Time, k Key) *budget {
	g.expireLocked(now)
	b, found := g.budgets.Get(k)
	if !found {
		// The names are parts of a request, and would keep all of it.
		k = Key{strings.Clone(k.Upstream), k.Credential, strings.Clone(k.Method)}
		b = &budget{key: k}
		g.budgets.Add(k, b)
		g.listLocked(b)
	}
	b.expire(now)
	b.touchedAt = now
	return b
}

func (g *Guard) expireLocked(now time.Time) {
	for {
		_, b, found := g.budgets.GetOldest()
		if !found || now.Sub(b.touchedAt) <= window+slack {
			return
		}
		g.budgets.RemoveOldest()
	}
}

func (g *Guard) listLocked(b *budget) {
	first := g.upstreams[b.key.Upstream]
	if b.next = first; first != nil {
		first.previous = b
	}
	g.upstreams[b.key.Upstream] = b
}

// unlistLocked is called for each budget that leaves the LRU.
func (g *Guard) unlistLocked(k Key, b *budget) {
	if b.next != nil {
		b.next.previous = b.previous
	}
	switch {
	case b.previous != nil:
		b.previous.next = b.next
	case b.next != nil:
		g.upstreams[k.Upstream] = b.next
	default:
		delete(g.upstreams, k.Upstream)
	}
}

// ofUpstreamLocked are the budgets of an upstream.
func (g *Guard) ofUpstreamLocked(upstream string) iter.Seq[*budget] {
	return func(yield func(*budget) bool) {
		for b := g.upstreams[upstream]; b != nil && yield(b); b = b.next {
		}
	}
}

// State is what is known of one budget at a moment.
type State struct {
	Key
	Used      time.Duration // without the calls in flight
	Ratio     float64       // of the limit; at least 1 while Blocked; 0 if no limit is set
	ResetAt   time.Time     // when the sum falls; zero: unknown
	Blocked   bool          // the upstream refused the method and has not let it in since
	HeldUntil time.Time     // no call is let in before; zero: calls are not held
	InFlight  int           // calls
}

// List describes the n budgets of an upstream with the highest ratios, highest
// first.
func (g *Guard) List(now time.Time, upstream string, n int) []State {
	g.mu.Lock()
	g.expireLocked(now)
	states := []State{}
	for b := range g.ofUpstreamLocked(upstream) {
		b.expire(now)
		states = append(states, b.state(g.limit))
	}
	g.mu.Unlock()
	slices.SortFunc(states, func(a, b State) int {
		return cmp.Or(cmp.Compare(b.Ratio, a.Ratio), cmp.Compare(b.Used, a.Used),
			cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Method, b.Method))
	})
	return states[:min(n, len(states))]
}

// Ratio is the highest ratio of an upstream's budgets, 0 if it has none.
func (g *Guard) Ratio(now time.Time, upstream string) (highest float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expireLocked(now)
	for b := range g.ofUpstreamLocked(upstream) {
		b.expire(now)
		highest = max(highest, b.ratio(g.limit))
	}
	return highest
}

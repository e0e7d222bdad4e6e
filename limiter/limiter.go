// Package limiter decides when a call may leave for an upstream that counts
// calls: it queues callers, shares the slots among them fairly, and keeps below
// the limit that the upstream enforces. It knows names and time, nothing of
// HTTP or of the upstream's protocol.
//
// A caller asks for a slot with Acquire, sends one call, and says what came of
// it: Slot.Answered when the upstream has answered, or will not any more,
// Slot.Unsent when nothing was sent, and Slot.Done when nothing of the call is
// under way any more. A slot is spent when the head of the queue leaves, never before;
// whoever stops waiting spends nothing.
package limiter

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Config is what a Limiter is told once.
type Config struct {
	Plan      func(upstream string) Plan // the limit of each upstream
	Depth     int                        // callers that may wait for one upstream
	InFlight  int                        // calls of one upstream that may be under way; 0: no bound
	Observe   bool                       // let every call go, and say what would have become of it
	Persister Persister                  // keeps the buckets over a restart; nil: every start assumes that nothing has been used
	Warn      func(msg string, args ...any)
}

// A Limiter holds a bucket and a queue for each upstream. Upstreams that are at
// rest are forgotten.
type Limiter struct {
	config      Config
	persistence *persistence

	mu      sync.Mutex
	lines   map[string]*line
	margins *LRU[string, int] // that refusals widened, of upstreams that are forgotten
	sweep   int               // size of lines at which the idle ones are dropped
	closed  bool
}

// keptMargins bounds the margins that are remembered.
const keptMargins = 10_000

// firstSweep is how many upstreams are kept before idle ones are looked for.
const firstSweep = 64

// New makes a Limiter in which nothing has been sent yet.
func New(c Config) *Limiter {
	return &Limiter{config: c, persistence: &persistence{persister: c.Persister, warn: c.Warn}, lines: make(map[string]*line), margins: NewLRU[string, int](keptMargins), sweep: firstSweep}
}

// A Request asks for one slot.
type Request struct {
	Upstream string        // whose limit is spent
	Client   string        // who asks: slots are shared evenly among clients
	Urgency  int           // 0 (most) to 7, as RFC 9218 has it
	Wait     time.Duration // how long the caller would wait
	Refused  bool          // the upstream refused this call before: it goes to the head of the queue
}

// Acquire waits for a slot and spends it. It fails with a *Rejection, at once
// if it can foretell that the wait would be too long, or with the cause of ctx.
func (l *Limiter) Acquire(ctx context.Context, r Request) (*Slot, error) {
	line := l.line(r.Upstream)
	if l.config.Observe {
		return line.watch(r)
	}
	return line.acquire(ctx, r)
}

// WouldReject reports whether Acquire would reject a call at once: nil, or the
// Rejection, which the caller answers with, since its RetryAfter is no other
// call's. It takes no slot and no place, so it can be asked before the body of a
// request is read. Acquire decides anew.
func (l *Limiter) WouldReject(r Request) *Rejection {
	l.mu.Lock()
	line, closed := l.lines[r.Upstream], l.closed
	l.mu.Unlock()
	switch {
	case line != nil:
		return line.wouldReject(r)
	case closed:
		return draining()
	}
	return nil
}

// RetryAfter says when a caller should repeat a call that the upstream refused,
// as Rejection.RetryAfter does for one that was rejected here.
func (l *Limiter) RetryAfter(upstream string) time.Duration {
	l.mu.Lock()
	line := l.lines[upstream]
	l.mu.Unlock()
	if line == nil {
		return 0
	}
	return line.retryAfter()
}

// Close rejects all who wait and all who come, as Draining.
func (l *Limiter) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, line := range l.lines {
		line.close()
	}
}

// line finds an upstream's line, or begins one, and pins it: a pinned line is
// not dropped.
func (l *Limiter) line(upstream string) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.lines[upstream]
	if found == nil {
		if len(l.lines) >= l.sweep {
			l.dropIdleLocked()
		}
		found = newLine(upstream, l.config, l.persistence)
		found.closed = l.closed
		if margin, widened := l.margins.Get(upstream); widened {
			found.widen(margin)
		}
		l.lines[upstream] = found
	}
	found.pins.Add(1)
	return found
}

func (l *Limiter) dropIdleLocked() {
	for upstream, line := range l.lines {
		if line.idle() {
			if margin := line.widened(); margin > 0 {
				l.margins.Put(upstream, margin)
			}
			delete(l.lines, upstream)
		}
	}
	l.sweep = max(firstSweep, 2*len(l.lines))
}

// State is what an upstream's bucket and queue hold at one moment.
type State struct {
	Upstream string
	Plan     Plan
	Rate     float64        // in force
	Level    float64        // of the bucket, 0 to the plan's burst
	Waiting  [urgencies]int // callers, by urgency
	Capacity int            // callers that may wait
	Wait     time.Duration  // what a newcomer would wait behind all others
	Blocked  bool           // the breaker is open
}

// State describes one upstream, unless it is at rest and forgotten.
func (l *Limiter) State(upstream string) (s State, found bool) {
	l.mu.Lock()
	line := l.lines[upstream]
	l.mu.Unlock()
	if line == nil {
		return State{}, false
	}
	return line.state(), true
}

// Clients counts an upstream's waiting calls by client.
func (l *Limiter) Clients(upstream string) map[string]int {
	l.mu.Lock()
	line := l.lines[upstream]
	l.mu.Unlock()
	if line == nil {
		return nil
	}
	return line.clients()
}

// States describes every upstream that is not at rest, in no order.
func (l *Limiter) States() []State {
	l.mu.Lock()
	lines := maps.Clone(l.lines)
	l.mu.Unlock()
	states := make([]State, 0, len(lines))
	for _, line := range lines {
		states = append(states, line.state())
	}
	return states
}

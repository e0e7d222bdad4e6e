// Package limiter decides when a call may be sent to an upstream that counts
// calls: it queues callers, shares the slots among them fairly, and keeps below
// the limit that the upstream enforces. It knows names and times, and nothing of
// HTTP or of the upstream's protocol.
//
// A caller asks for a slot with Acquire, sends one call, and reports what came of
// it: Slot.Answered when the upstream has answered or will not answer any more,
// Slot.Unsent when nothing was sent, and Slot.Done when nothing of the call is in
// flight any more. A slot is spent when the head of the queue leaves, never
// before, so a caller who stops waiting spends nothing.
package limiter

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Config is what a Limiter is made with.
type Config struct {
	Plan      func(upstream string) Plan    // the limit of each upstream
	Depth     int                           // calls that may wait for one upstream
	InFlight  int                           // calls of one upstream that may be in flight; 0: any number
	Observe   bool                          // let every call go, and report what enforcing would have done
	Store     Store                         // shares the buckets with other limiters; nil: they are this one's alone
	Persister Persister                     // keeps the buckets over a restart; nil: every start assumes that nothing was used
	Warn      func(msg string, args ...any) // logs a problem with the Persister
}

// A Limiter holds a bucket and a queue for each upstream. It forgets upstreams
// that are at rest.
type Limiter struct {
	config      Config
	persistence *persistence

	mu      sync.Mutex
	lines   map[string]*line
	margins *simplelru.LRU[string, int] // that refusals widened, of upstreams whose line was dropped
	sweep   int                         // number of lines at which the idle ones are dropped
	closed  bool
}

// keptMargins bounds the margins that are remembered.
const keptMargins = 10_000

// firstSweep is how many upstreams are kept before idle ones are looked for.
const firstSweep = 64

// New makes a Limiter that has sent nothing yet.
func New(c Config) *Limiter {
	margins, _ := simplelru.NewLRU[string, int](keptMargins, nil) // fails only below a size of 1
	return &Limiter{
		config:      c,
		persistence: &persistence{persister: c.Persister, warn: c.Warn},
		lines:       make(map[string]*line),
		margins:     margins,
		sweep:       firstSweep,
	}
}

// A Request asks for one slot.
type Request struct {
	Upstream string        // whose limit is spent
	Client   string        // who asks: slots are shared evenly among clients
	Urgency  int           // 0 (most urgent) to 7, as in RFC 9218
	Wait     time.Duration // how long the caller waits at most
	Refused  bool          // the upstream refused this call before: it goes to the head of the queue
	Early    bool          // it was taken along in vain before: it is served before the other calls of its client
	Group    string        // calls of one group can share a slot, see Slot.Take; "": this one shares none
	Rider    any           // what the holder of the shared slot needs of the call
}

// Acquire waits for a slot and spends it. It fails with a *Rejection, at once if
// the estimated wait is too long, with ErrTaken, or with the cause of ctx.
func (l *Limiter) Acquire(ctx context.Context, r Request) (*Slot, error) {
	line := l.line(r.Upstream)
	if l.config.Observe {
		return line.observe(r)
	}
	return line.acquire(ctx, r)
}

// WouldReject reports whether Acquire would reject a call at once: nil, or the
// Rejection. The caller should return that one, since its RetryAfter is given to
// no other call. WouldReject takes no slot and no place in the queue, so it can be
// called before the body of a request is read. Acquire decides anew.
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

// RetryAfter is when a caller should repeat a call that the upstream refused, as
// Rejection.RetryAfter is for one that was rejected here.
func (l *Limiter) RetryAfter(upstream string) time.Duration {
	if line := l.find(upstream); line != nil {
		return line.retryAfter()
	}
	return 0
}

// Close rejects all calls that wait and all that come, as Draining.
func (l *Limiter) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, line := range l.lines {
		line.close()
	}
}

// find returns an upstream's line, nil if there is none.
func (l *Limiter) find(upstream string) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[upstream]
}

// line finds an upstream's line, or begins one, and pins it: a line that is
// pinned is not dropped.
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
			found.setMargin(margin)
		}
		l.lines[upstream] = found
	}
	found.pins.Add(1)
	return found
}

func (l *Limiter) dropIdleLocked() {
	for upstream, line := range l.lines {
		if line.idle() {
			if margin := line.widenedMargin(); margin > 0 {
				l.margins.Add(upstream, margin)
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
	Lowered  bool           // refusals have lowered the rate; where it is lower all the same, the rest is for replicas
	Level    float64        // of the bucket, 0 to the plan's burst
	Waiting  [urgencies]int // calls, by urgency
	Capacity int            // calls that may wait
	Wait     time.Duration  // of a call that would come now, behind all others
	Blocked  bool           // the upstream is blocked as a whole
}

// State describes one upstream, unless it is at rest and forgotten.
func (l *Limiter) State(upstream string) (s State, found bool) {
	if line := l.find(upstream); line != nil {
		return line.state(), true
	}
	return State{}, false
}

// Clients counts an upstream's waiting calls by client.
func (l *Limiter) Clients(upstream string) map[string]int {
	if line := l.find(upstream); line != nil {
		return line.clients()
	}
	return nil
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

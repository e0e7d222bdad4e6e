package limiter

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A line is one upstream: its bucket, the calls that wait for it, and, while
// there are any, the dispatcher that gives out the slots.
type line struct {
	upstream    string
	depth       int
	maxInFlight int // 0: any number
	observing   bool
	persistence *persistence

	mu          sync.Mutex
	bucket      *bucket  // nil: unlimited
	sharing     *sharing // nil: the bucket is this line's alone
	unlimited   bool     // the plan says so; there is a bucket after a refusal
	queue       queue
	breaker     breaker
	inFlight    int // calls that count against maxInFlight
	retryTimes  retryTimes
	unpaced     unpaced // of an observing limiter
	dispatching bool
	closed      bool

	wakeup chan struct{}
	pins   atomic.Int64 // callers inside acquire, and slots that are not answered
}

// A waiter is one call in the queue.
type waiter struct {
	client    string
	urgency   int
	refused   bool // by the upstream, before
	early     bool
	group     string
	rider     any
	wait      time.Duration
	probe     bool // of the breaker
	place     *list.Element
	decided   chan struct{} // closed when slot, rejection or taken is set
	slot      *Slot
	rejection *Rejection
	taken     bool // along with another slot
}

// waitedBefore reports whether the call had its place in the queue already.
func (w *waiter) waitedBefore() bool { return w.refused || w.early }

func (w *waiter) reject(r *Rejection) {
	w.rejection = r
	close(w.decided)
}

// await waits until the limiter has decided or nobody waits any more.
func (w *waiter) await(ctx context.Context) {
	select {
	case <-w.decided: // mostly on arrival
		return
	default:
	}
	timer := time.NewTimer(w.wait)
	defer timer.Stop()
	select {
	case <-w.decided:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func newLine(upstream string, c Config, p *persistence) *line {
	l := &line{
		upstream: upstream, depth: c.Depth, maxInFlight: c.InFlight, observing: c.Observe,
		persistence: p, wakeup: make(chan struct{}, 1),
	}
	plan := c.Plan(upstream)
	if l.unlimited = plan.Unlimited(); !l.unlimited {
		l.bucket = newBucket(plan)
		l.bucket.restore(time.Now(), p.load(upstream))
		l.sharing = newSharing(c, l.bucket)
	}
	return l
}

// acquire is Limiter.Acquire. Its caller has pinned the line; the pin passes to
// the slot.
func (l *line) acquire(ctx context.Context, r Request) (*Slot, error) {
	w, _, err := l.enter(r)
	if err != nil {
		l.pins.Add(-1)
		return nil, err
	}
	return l.await(ctx, w)
}

// await waits for a waiter's slot, until its time is over.
func (l *line) await(ctx context.Context, w *waiter) (slot *Slot, err error) {
	defer func() {
		if slot == nil {
			l.pins.Add(-1)
		}
	}()
	w.await(ctx)
	slot, err = l.leave(ctx, w)
	if err == nil {
		l.persistence.save(l.upstream, slot) // before the call is sent
	}
	return slot, err
}

// enter rejects a call, or gives it its slot at once, or puts it in the queue,
// where it waits for about so long.
func (l *line) enter(r Request) (w *waiter, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w = &waiter{
		client: r.Client, urgency: r.Urgency, refused: r.Refused, early: r.Early, group: r.Group, rider: r.Rider,
		wait: r.Wait, decided: make(chan struct{}),
	}
	wait, rejection := l.decideLocked(now, r)
	w.probe = rejection == nil && l.breaker.open()
	switch {
	case rejection != nil:
		return nil, 0, rejection
	case wait == 0 && l.sharing == nil:
		l.grantLocked(now, w)
	default:
		if wait == 0 {
			w.wait = max(w.wait, AwayAfter+usable) // asking the store is no waiting
		}
		l.pushLocked(now, w)
	}
	return w, wait, nil
}

// pushLocked puts a waiter in the queue. Where that is full, the last call of the
// client with most calls is rejected.
func (l *line) pushLocked(now time.Time, w *waiter) {
	if l.queue.length >= l.depth && !w.waitedBefore() {
		last := l.queue.last(l.queue.longest())
		l.queue.remove(last)
		last.reject(l.rejectionLocked(now, QueueFull, 0))
	}
	l.queue.push(w)
	if l.dispatching {
		l.wake()
	} else {
		l.dispatching = true
		go l.dispatch()
	}
}

// leave ends a wait, for whatever reason. The slot of a caller who left in the
// meantime goes to the next.
func (l *line) leave(ctx context.Context, w *waiter) (*Slot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if w.probe && (w.slot == nil || ctx.Err() != nil) {
		l.breaker.probeUnsent(now)
	}
	switch {
	case w.taken:
		return nil, ErrTaken
	case w.rejection != nil:
		return nil, w.rejection
	case w.slot == nil:
		l.queue.remove(w)
		if l.queue.length == 0 {
			l.wake() // the dispatcher ends
		}
		if ctx.Err() == nil {
			rejection := l.rejectionLocked(now, QueueWait, l.waitLocked(now, l.queue.slots(l.queue.length))-w.wait)
			rejection.LongestWait = w.wait
			return nil, rejection
		}
	case ctx.Err() == nil:
		return w.slot, nil
	default:
		l.giveBackLocked(now, w.slot)
		l.wake()
	}
	return nil, context.Cause(ctx)
}

// close rejects all calls that wait and all that come.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.rejectAllLocked(draining)
}

// rejectAllLocked rejects all calls that wait.
func (l *line) rejectAllLocked(rejection func() *Rejection) {
	for l.queue.length > 0 {
		l.queue.pop().reject(rejection())
	}
	l.wake()
}

// idle reports whether forgetting the line would change nothing.
func (l *line) idle() bool {
	if l.pins.Load() > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.inFlight == 0 && !l.breaker.open() && (l.bucket == nil || l.bucket.idle(now))
}

// widenedMargin is the margin of the bucket if refusals have widened it, else 0.
func (l *line) widenedMargin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil || l.bucket.margin == l.bucket.plan.margin() {
		return 0
	}
	return l.bucket.margin
}

// setMargin puts a margin in force that was learned before the line was dropped.
func (l *line) setMargin(margin int) {
	if l.bucket != nil {
		l.bucket.setMargin(time.Now(), margin)
	}
}

// clients counts the waiting calls of each client.
func (l *line) clients() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.lengths()
}

func (l *line) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := State{Upstream: l.upstream, Waiting: l.queue.urgency, Capacity: l.depth, Blocked: l.breaker.open()}
	if b := l.bucket; b != nil {
		s.Plan, s.Rate = b.plan, b.rate(now)
		s.Level = b.shownLevel(now)
		s.Lowered = b.lowered()
		if l.queue.length == 0 && b.quiet(now) {
			s.Rate /= b.part // which part the next call will find is not known: nobody has asked
		}
	}
	s.Wait = max(0, l.waitLocked(now, l.queue.slots(l.queue.length)))
	return s
}

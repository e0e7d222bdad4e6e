package limiter

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A line is one upstream: its bucket, those who wait for it, and, while
// somebody waits, the dispatcher that gives the slots out.
type line struct {
	upstream    string
	depth       int
	places      int // for calls under way; 0: no bound
	observe     bool
	persistence *persistence

	mu          sync.Mutex
	bucket      *bucket // nil: unlimited
	unlimited   bool    // the plan says so; a bucket is there after a refusal
	queue       queue
	breaker     breaker
	under       int // calls that hold a place
	turns       turns
	flood       flood // of an observer
	dispatching bool
	closed      bool

	wake chan struct{}
	pins atomic.Int64 // callers inside acquire and slots not answered
}

// A waiter is one caller in the queue.
type waiter struct {
	client  string
	urgency int
	again   bool
	wait    time.Duration // at the most
	probe   bool          // of the breaker
	place   *list.Element
	ready   chan struct{} // closed when slot or refused is set
	slot    *Slot
	refused *Rejection
}

func (w *waiter) refuse(r *Rejection) {
	w.refused = r
	close(w.ready)
}

func newLine(upstream string, c Config, p *persistence) *line {
	l := &line{upstream: upstream, depth: c.Depth, places: c.InFlight, observe: c.Observe, persistence: p, wake: make(chan struct{}, 1)}
	plan := c.Plan(upstream)
	if l.unlimited = plan.Unlimited(); !l.unlimited {
		l.bucket = newBucket(plan)
		l.bucket.restore(time.Now(), p.load(upstream))
	}
	return l
}

// acquire is Limiter.Acquire. The line is pinned by its caller; the pin passes
// to the slot.
func (l *line) acquire(ctx context.Context, r Request) (*Slot, error) {
	w, _, err := l.enter(r)
	if err != nil {
		l.pins.Add(-1)
		return nil, err
	}
	return l.await(ctx, w)
}

// await waits for the slot of a waiter, as long as that would.
func (l *line) await(ctx context.Context, w *waiter) (slot *Slot, err error) {
	defer func() {
		if slot == nil {
			l.pins.Add(-1)
		}
	}()
	patience := time.NewTimer(w.wait)
	defer patience.Stop()
	select {
	case <-w.ready:
	case <-patience.C:
	case <-ctx.Done():
	}
	slot, err = l.leave(ctx, w)
	if err == nil {
		l.persistence.save(l.upstream, slot) // before the call leaves
	}
	return slot, err
}

// enter books a call in: it is refused, gets its slot at once, or waits for about
// so long.
func (l *line) enter(r Request) (w *waiter, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w = &waiter{client: r.Client, urgency: r.Urgency, again: r.Refused, wait: r.Wait, ready: make(chan struct{})}
	wait, refused := l.foretellLocked(now, r)
	w.probe = refused == nil && l.breaker.open()
	switch {
	case refused != nil:
		return nil, 0, refused
	case wait == 0:
		l.grantLocked(now, w)
	default:
		if l.queue.length >= l.depth && !r.Refused {
			longest := l.queue.last(l.queue.longest())
			l.queue.remove(longest)
			longest.refuse(l.refusalLocked(now, QueueFull, 0))
		}
		l.queue.push(w)
		if l.dispatching {
			l.nudge()
		} else {
			l.dispatching = true
			go l.dispatch()
		}
	}
	return w, wait, nil
}

// wouldReject is Limiter.WouldReject.
func (l *line) wouldReject(r Request) *Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observe && !l.closed {
		return nil
	}
	now := time.Now()
	if _, refused := l.estimateLocked(now, r); refused != nil {
		return refused
	}
	return l.breaker.blocks(now)
}

// foretellLocked decides on arrival: how long a call would wait, or why it
// would not be served.
func (l *line) foretellLocked(now time.Time, r Request) (wait time.Duration, refused *Rejection) {
	if wait, refused = l.estimateLocked(now, r); refused == nil {
		refused = l.breaker.enter(now)
	}
	return wait, refused
}

// estimateLocked is how long a call would wait in the queue, or why it cannot.
func (l *line) estimateLocked(now time.Time, r Request) (wait time.Duration, refused *Rejection) {
	if l.closed {
		return 0, draining()
	}
	if l.unlimited && l.bucket != nil && l.queue.length == 0 && l.bucket.quiet(now) {
		l.bucket = nil
	}
	if l.queue.length == 0 && l.dueLocked(now) <= 0 {
		return 0, nil
	}
	ahead := l.queue.again.Len()
	if !r.Refused {
		ahead = l.queue.ahead(r.Client, r.Urgency)
	}
	wait = max(1, l.waitLocked(now, ahead))
	switch {
	case !r.Refused && l.queue.length >= l.depth && !l.queue.displaces(r.Client):
		return 0, l.refusalLocked(now, QueueFull, wait-r.Wait)
	case wait > r.Wait:
		refused = l.refusalLocked(now, QueueWait, wait-r.Wait)
		refused.EstimatedWait, refused.LongestWait = wait, r.Wait
		return 0, refused
	}
	return wait, nil
}

// refusalLocked refuses a call whose wait would be too long by so much, until
// its turn: then a place in the queue has opened for it.
func (l *line) refusalLocked(now time.Time, reason Reason, excess time.Duration) *Rejection {
	return &Rejection{Reason: reason, RetryAfter: l.turnLocked(now, max(excess, l.waitLocked(now, 0)))}
}

// turnLocked is when a caller who is refused is to come again.
func (l *line) turnLocked(now time.Time, base time.Duration) time.Duration {
	return l.turns.next(now, base, l.stepLocked(now))
}

// retryAfter is Limiter.RetryAfter.
func (l *line) retryAfter() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.turnLocked(now, l.waitLocked(now, l.queue.length))
}

// stepLocked is how long it takes until one more place opens. Without a rate,
// the calls under way are taken to last for a second.
func (l *line) stepLocked(now time.Time) time.Duration {
	switch {
	case l.bucket != nil:
		return seconds(1 / l.bucket.learn.rate(now))
	case l.places > 0:
		return time.Second / time.Duration(l.places)
	}
	return 0
}

// untilWoken is how long a dispatcher sleeps that only the end of a call can
// help, which wakes it.
const untilWoken = time.Hour

// dueLocked is how long until a slot may be given out: zero is now.
func (l *line) dueLocked(now time.Time) time.Duration {
	switch {
	case l.places > 0 && l.under >= l.places:
		return untilWoken
	case l.bucket != nil:
		return l.bucket.due(now)
	}
	return 0
}

// waitLocked estimates the wait of a call that has so many before it, as far as
// the bucket goes. When a place will be free nobody knows: a call may take a
// millisecond or a minute.
func (l *line) waitLocked(now time.Time, ahead int) time.Duration {
	if l.bucket == nil {
		return 0
	}
	return l.bucket.wait(now, ahead)
}

// leave ends a wait, whichever way it ended: a slot for a caller who has gone
// meanwhile goes to the next.
func (l *line) leave(ctx context.Context, w *waiter) (*Slot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if w.probe && (w.slot == nil || ctx.Err() != nil) {
		l.breaker.unprobed(now)
	}
	switch {
	case w.refused != nil:
		return nil, w.refused
	case w.slot == nil:
		l.queue.remove(w)
		if l.queue.length == 0 {
			l.nudge() // the dispatcher ends
		}
		if ctx.Err() == nil {
			refused := l.refusalLocked(now, QueueWait, l.waitLocked(now, l.queue.length)-w.wait)
			refused.LongestWait = w.wait
			return nil, refused
		}
	case ctx.Err() == nil:
		return w.slot, nil
	default:
		l.giveBackLocked(now, w.slot)
		l.nudge()
	}
	return nil, context.Cause(ctx)
}

// dispatch gives a slot to whoever is first when it is due. It ends when
// nobody waits.
func (l *line) dispatch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.wake:
		}
		next, more := l.serve()
		if !more {
			return
		}
		timer.Reset(next)
	}
}

// serve gives out the slots that are due, and tells when the next one is.
func (l *line) serve() (next time.Duration, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for l.queue.length > 0 {
		if next := l.dueLocked(now); next > 0 {
			return next, true
		}
		l.grantLocked(now, l.queue.pop())
	}
	l.dispatching = false
	return 0, false
}

func (l *line) grantLocked(now time.Time, w *waiter) {
	w.slot = &Slot{line: l, sent: now, probe: w.probe, place: l.places > 0}
	if w.slot.place {
		l.under++
	}
	if l.bucket == nil {
		w.slot.seen = true // by no bucket
	} else {
		l.bucket.take(w.slot)
		w.slot.fullAt = l.bucket.fullAt(now)
	}
	close(w.ready)
}

// doneLocked frees the place of a call.
func (l *line) doneLocked(s *Slot) {
	if s.place {
		s.place = false
		l.under--
		l.nudge()
	}
}

func (l *line) giveBackLocked(now time.Time, s *Slot) {
	l.doneLocked(s)
	if s.probe {
		l.breaker.unprobed(now)
	}
	if l.bucket != nil {
		l.bucket.giveBack(now, s)
	}
}

// fallback is the plan that an upstream without a limit turns out to have when
// it refuses: the least that is known. It holds until its bucket is full again.
var fallback = Standard

// answeredLocked learns from an answer. Those who wait for an upstream that is
// blocked as a whole wait in vain.
func (l *line) answeredLocked(now time.Time, s *Slot, o Outcome) {
	if o != NoAnswer {
		l.breaker.answered(now, s.sent, o == Overloaded)
	}
	if o == Overloaded {
		l.rejectLocked(func() *Rejection { return &Rejection{Reason: Overload, RetryAfter: l.breaker.probe.Sub(now)} })
	}
	if o == Refused && l.bucket == nil {
		l.bucket = newBucket(fallback)
	}
	switch {
	case l.bucket == nil:
	case o == Refused:
		l.bucket.refused(now, s)
	case o == Accepted && !l.observe: // see line.watched
		l.bucket.accepted(now, s)
	default:
		l.bucket.arrived(now, s)
	}
}

// rejectLocked refuses all who wait.
func (l *line) rejectLocked(why func() *Rejection) {
	for l.queue.length > 0 {
		l.queue.pop().refuse(why())
	}
	l.nudge()
}

// nudge has the dispatcher look again: something happened that its timer does
// not know of.
func (l *line) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close refuses all who wait and all who come.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.rejectLocked(draining)
}

// idle tells whether forgetting the line would change nothing.
func (l *line) idle() bool {
	if l.pins.Load() > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.under == 0 && !l.breaker.open() && (l.bucket == nil || l.bucket.idle(now))
}

// widened is the margin of the bucket if refusals have widened it, else 0.
func (l *line) widened() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil || l.bucket.margin == l.bucket.plan.margin() {
		return 0
	}
	return l.bucket.margin
}

// widen puts a margin in force that was learned before the line was forgotten.
func (l *line) widen(margin int) {
	if l.bucket != nil {
		l.bucket.widen(time.Now(), margin)
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
		s.Plan, s.Rate = b.plan, b.learn.rate(now)
		s.Level = b.fill(now)
	}
	s.Wait = max(0, l.waitLocked(now, l.queue.length))
	return s
}

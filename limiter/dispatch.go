package limiter

import "time"

// dispatch gives a slot to the first waiter each time one is due. It ends when
// nobody waits.
func (l *line) dispatch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.wakeup:
		}
		next, more := l.serve()
		if !more {
			return
		}
		timer.Reset(next)
	}
}

// wake makes the dispatcher look again, after something that its timer does not
// know of.
func (l *line) wake() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// serve gives out the slots that are due, and returns when the next one is.
func (l *line) serve() (next time.Duration, more bool) {
	if l.sharing != nil {
		return l.serveShared()
	}
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

// untilWoken is how long a dispatcher sleeps when only the end of a call can
// help, which wakes it.
const untilWoken = time.Hour

// dueLocked is how long until a slot may be given out; 0: now.
func (l *line) dueLocked(now time.Time) time.Duration {
	switch {
	case l.atMaxInFlightLocked():
		return untilWoken
	case l.bucket != nil:
		return l.bucket.due(now)
	}
	return 0
}

func (l *line) atMaxInFlightLocked() bool { return l.maxInFlight > 0 && l.inFlight >= l.maxInFlight }

func (l *line) grantLocked(now time.Time, w *waiter) {
	w.slot = &Slot{line: l, group: w.group, sent: now, probe: w.probe, counted: l.maxInFlight > 0}
	if w.slot.counted {
		l.inFlight++
	}
	if l.bucket == nil {
		w.slot.arrived = true // there is no bucket to wait for it
	} else {
		l.bucket.take(w.slot)
		w.slot.fullAt, w.slot.rate = l.bucket.fullAt(now), l.bucket.plan.Rate
	}
	close(w.decided)
}

// doneLocked makes room for another call in flight.
func (l *line) doneLocked(s *Slot) {
	if s.counted {
		s.counted = false
		l.inFlight--
		l.wake()
	}
}

func (l *line) giveBackLocked(now time.Time, s *Slot) {
	l.doneLocked(s)
	if s.probe {
		l.breaker.probeUnsent(now)
		l.sharing.noteBlock(ProbeUnsent)
	}
	if l.bucket != nil {
		l.sharing.note(unsent, s)
		l.bucket.giveBack(now, s)
	}
}

// fallback is the plan of an upstream that refuses although its plan is
// unlimited: the smallest that is known. It holds until its bucket is full again.
var fallback = Standard

// answeredLocked learns from an answer. Where the upstream turns out to be
// blocked as a whole, nobody waits for it any longer.
func (l *line) answeredLocked(now time.Time, s *Slot, o Outcome) {
	if o != NoAnswer {
		l.sharing.noteBlock(l.breaker.answered(now, s.sent, o == Overloaded))
	}
	if o == Overloaded {
		l.rejectAllLocked(func() *Rejection { return l.breaker.rejection(now) })
	}
	if o == Refused && l.bucket == nil {
		l.bucket = newBucket(fallback)
	}
	l.sharing.note(o, s)
	switch {
	case l.bucket == nil:
	case o == Refused:
		l.bucket.refused(now, s)
	case o == Accepted && !l.observing: // an observer counts these in line.observed
		l.bucket.accepted(now, s)
	default:
		l.bucket.answered(now, s)
	}
}

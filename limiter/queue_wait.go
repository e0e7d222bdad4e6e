package limiter

import "time"

// decideLocked decides on arrival what becomes of a call: how long it will
// wait, or why it is rejected.
func (l *line) decideLocked(now time.Time, r Request) (wait time.Duration, rejection *Rejection) {
	if wait, rejection = l.estimateLocked(now, r); rejection == nil {
		rejection = l.breaker.enter(now)
	}
	return wait, rejection
}

// wouldReject is Limiter.WouldReject.
func (l *line) wouldReject(r Request) *Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observing && !l.closed {
		return nil
	}
	now := time.Now()
	if _, rejection := l.estimateLocked(now, r); rejection != nil {
		return rejection
	}
	return l.breaker.wouldReject(now)
}

// estimateLocked is how long a call would wait in the queue, or why it may not.
func (l *line) estimateLocked(now time.Time, r Request) (wait time.Duration, rejection *Rejection) {
	if l.closed {
		return 0, draining()
	}
	if l.unlimited && l.bucket != nil && l.queue.length == 0 && l.bucket.quiet(now) {
		l.bucket = nil
	}
	if l.queue.length == 0 && l.dueLocked(now) <= 0 {
		return 0, nil
	}
	wait = max(1, l.waitLocked(now, l.queue.slots(l.aheadLocked(now, r))))
	switch {
	case !r.Refused && !r.Early && l.queue.length >= l.depth && !l.queue.displaces(r.Client):
		return 0, l.rejectionLocked(now, QueueFull, wait-r.Wait)
	case wait > r.Wait:
		rejection = l.rejectionLocked(now, QueueWait, wait-r.Wait)
		rejection.EstimatedWait, rejection.LongestWait = wait, r.Wait
		return 0, rejection
	}
	return wait, nil
}

// aheadLocked is how many calls are served before one that comes now. It asks each
// client, unless the call has the time to wait for all of them and nobody needs to know.
func (l *line) aheadLocked(now time.Time, r Request) int {
	switch all := l.queue.length; {
	case r.Refused:
		return l.queue.refused.Len()
	case r.Early:
		return l.queue.aheadOfFirst(r.Client)
	case !l.observing && all < l.depth && l.waitLocked(now, l.queue.slots(all)) <= r.Wait:
		return all
	}
	return l.queue.ahead(r.Client, r.Urgency)
}

// waitLocked estimates the wait of a call with so many ahead of it, as far as
// the bucket decides it. Nobody knows when another call ends, where that is what
// it waits for: it may take a millisecond or a minute.
func (l *line) waitLocked(now time.Time, ahead int) time.Duration {
	if l.bucket == nil {
		return 0
	}
	return l.bucket.estimate(now, l.sharing.ahead(now, ahead, &l.queue))
}

// rejectionLocked rejects a call that would wait too long by the given excess.
// It may come again when a place in the queue has opened for it.
func (l *line) rejectionLocked(now time.Time, reason Reason, excess time.Duration) *Rejection {
	return &Rejection{Reason: reason, RetryAfter: l.retryAfterLocked(now, max(excess, l.waitLocked(now, 0)))}
}

// retryAfter is Limiter.RetryAfter.
func (l *line) retryAfter() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.retryAfterLocked(now, l.waitLocked(now, l.queue.slots(l.queue.length)))
}

func (l *line) retryAfterLocked(now time.Time, base time.Duration) time.Duration {
	return l.retryTimes.next(now, base, l.placeIntervalLocked(now))
}

// placeIntervalLocked is how long it takes until one more place in the queue
// opens. Without a rate, the calls in flight are assumed to take a second.
func (l *line) placeIntervalLocked(now time.Time) time.Duration {
	switch {
	case l.bucket != nil:
		return seconds(l.queue.slotsPerCall() / l.bucket.rate(now))
	case l.maxInFlight > 0:
		return time.Second / time.Duration(l.maxInFlight)
	}
	return 0
}

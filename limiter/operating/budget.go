package operating

import "time"

// A budget is the operating time that one method has used, and whether its
// calls are held for it. It has no lock: Guard has.
type budget struct {
	key            Key
	next, previous *budget // of the same upstream

	used       time.Duration // as reported, and what the reporting server did not see
	reportedAt time.Time     // when used was
	resetAt    time.Time     // when the sum falls; zero: unknown
	touchedAt  time.Time     // when a call last asked for it

	inFlight int           // calls
	meanCost time.Duration // of a call; 0: unknown
	costs    int           // how many calls the mean is of, up to memory

	heldAt    time.Time     // zero: calls are not held
	heldUntil time.Time     // no call is let in before
	pause     time.Duration // the last one that was chosen because no reset was known
	blocked   bool          // held because the upstream refused the method
	probe     *Pass         // the one call that is let in while calls are held
}

func (b *budget) held() bool { return !b.heldAt.IsZero() }

// blank reports whether forgetting the budget would change nothing.
func (b *budget) blank() bool {
	return b.used == 0 && b.meanCost == 0 && b.inFlight == 0 && !b.held()
}

// spent reports whether the next call is expected to pass the ceiling. It is
// not while nothing is used, or a costly method could never be called.
func (b *budget) spent(ceiling time.Duration) bool {
	return ceiling > 0 && b.used > 0 && b.used+b.meanCost > ceiling
}

// due returns how long a call must wait before it asks again; 0: it may enter.
func (b *budget) due(now time.Time, ceiling time.Duration) time.Duration {
	switch {
	case b.held() && now.Before(b.heldUntil):
		return b.heldUntil.Sub(now)
	case b.held() && b.probe != nil:
		return poll
	case !b.held() && b.inFlight > 0 && b.used+time.Duration(b.inFlight+1)*b.meanCost > ceiling:
		return poll
	}
	return 0
}

// update takes over the sum that the answer to a call reports.
//
// A call that was alone saw all that was spent before it. A call that overlapped
// with others may not have, and answers overtake each other. Until the next
// reset the sum can only have grown by the cost of this call: what it added to
// the sum that was known when it entered, and no more than the time it took.
func (b *budget) update(now time.Time, p *Pass, a Answer) {
	reset := boundReset(now, a.Usage.ResetAt)
	used, base := a.Usage.Used, p.base
	alone := !p.entered.Before(b.reportedAt)
	if alone {
		base = b.used
	}
	cost := min(max(0, used-base), a.Took)
	if used >= base {
		b.addCost(cost)
	}
	switch {
	case alone, !b.resetAt.After(now), reset.After(b.resetAt.Add(slack)):
	case reset.Before(b.resetAt.Add(-slack)):
		return // overtaken by an answer from after a reset
	default:
		used = max(used, b.used+cost)
	}
	b.used, b.resetAt, b.reportedAt = used, reset, now
}

// addCost counts the cost of one call in the mean.
func (b *budget) addCost(cost time.Duration) {
	b.costs = min(b.costs+1, memory)
	b.meanCost += (cost - b.meanCost) / time.Duration(b.costs)
}

// block notes that the upstream refused the method.
func (b *budget) block(now time.Time) {
	b.blocked = true
	b.hold(now)
}

// hold lets no call in until the reset, or, where none is known, for a pause
// that gets longer each time. It changes nothing while calls are held already:
// calls that were sent together are refused together.
func (b *budget) hold(now time.Time) {
	if b.held() && now.Before(b.heldUntil) {
		return
	}
	b.heldAt, b.heldUntil = now, b.resetAt
	if !b.heldUntil.After(now) {
		b.pause = min(max(basket, 2*b.pause), window)
		b.heldUntil = now.Add(b.pause)
	}
}

// release lets calls in again, if the answer that shows it belongs to a call
// that entered after they were held. Where it reported no sum, none is known.
func (b *budget) release(entered time.Time, reported bool) {
	if !entered.After(b.heldAt) {
		return
	}
	if !reported {
		b.used = 0
	}
	b.heldAt, b.heldUntil, b.pause, b.blocked = time.Time{}, time.Time{}, 0, false
}

// expire forgets a sum of which nothing can be left by now. A method that the
// upstream refused stays held: a probe will show whether it is let in again.
func (b *budget) expire(now time.Time) {
	if b.used == 0 || now.Sub(b.reportedAt) <= window+slack {
		return
	}
	b.used, b.resetAt = 0, time.Time{}
	if !b.blocked {
		b.release(now, true)
	}
}

func (b *budget) state(limit time.Duration) State {
	return State{
		Key: b.key, Used: b.used, Ratio: b.ratio(limit), ResetAt: b.resetAt,
		Blocked: b.blocked, HeldUntil: b.heldUntil, InFlight: b.inFlight,
	}
}

func (b *budget) ratio(limit time.Duration) (r float64) {
	if limit > 0 {
		r = float64(b.used) / float64(limit)
		if b.blocked {
			r = max(r, 1)
		}
	}
	return r
}

// boundReset is a reported reset as far as it can be right: one in the past is
// unknown, and none is further off than a sum reaches back.
func boundReset(now, reset time.Time) time.Time {
	if !reset.After(now) {
		return time.Time{}
	}
	if latest := now.Add(window + slack); reset.After(latest) {
		return latest
	}
	return reset
}

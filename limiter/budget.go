package limiter

import "time"

// A budget is the sum of one method, and whether the method is closed for it.
// It has no lock: Budgets has.
type budget struct {
	used    time.Duration // as told, and what was spent unseen by the teller
	told    time.Time     // when used was
	resetAt time.Time     // when the sum falls; zero: unknown
	touched time.Time     // when anybody last asked

	underway int           // calls
	mean     time.Duration // what a call costs; 0: unknown
	costs    int           // how many calls taught it, up to budgetMemory

	closedAt time.Time     // zero: open
	until    time.Time     // no call goes before
	pause    time.Duration // the last one that was chosen for want of a reset
	blocked  bool          // closed by the upstream
	probe    *BudgetPass   // the one call that may go while closed
}

func (b *budget) closed() bool { return !b.closedAt.IsZero() }

// unknown tells whether forgetting the budget would change nothing.
func (b *budget) unknown() bool {
	return b.used == 0 && b.mean == 0 && b.underway == 0 && !b.closed()
}

// spent tells whether the next call is expected to pass the ceiling. Where
// nothing is used it is not, else a costly method could never be called.
func (b *budget) spent(ceiling time.Duration) bool {
	return ceiling > 0 && b.used > 0 && b.used+b.mean > ceiling
}

// due tells how long until a call should ask again; zero: it may go.
func (b *budget) due(now time.Time, ceiling time.Duration) time.Duration {
	switch {
	case b.closed() && now.Before(b.until):
		return b.until.Sub(now)
	case b.closed() && b.probe != nil:
		return budgetPoll
	case !b.closed() && b.underway > 0 && b.used+time.Duration(b.underway+1)*b.mean > ceiling:
		return budgetPoll
	}
	return 0
}

// learn takes the sum that the answer to a call tells.
//
// A call that was alone saw all that was spent before. One that overlapped with
// others may not have, and answers overtake each other; until the next reset,
// when the sum may fall, it can only have grown: by the cost of this call, which
// is what the call added to the sum known when it entered, and no more than the
// time that it took.
func (b *budget) learn(now time.Time, p *BudgetPass, a BudgetAnswer) {
	reset := boundReset(now, a.Usage.ResetAt)
	used, base := a.Usage.Used, p.base
	alone := !p.entered.Before(b.told)
	if alone {
		base = b.used
	}
	cost := min(max(0, used-base), a.Took)
	if used >= base {
		b.weigh(cost)
	}
	switch {
	case alone, !b.resetAt.After(now), reset.After(b.resetAt.Add(budgetSlack)):
	case reset.Before(b.resetAt.Add(-budgetSlack)):
		return // overtaken by an answer from after a reset
	default:
		used = max(used, b.used+cost)
	}
	b.used, b.resetAt, b.told = used, reset, now
}

// weigh lets a cost count in the mean.
func (b *budget) weigh(cost time.Duration) {
	b.costs = min(b.costs+1, budgetMemory)
	b.mean += (cost - b.mean) / time.Duration(b.costs)
}

// block books a refusal by the upstream.
func (b *budget) block(now time.Time) {
	b.blocked = true
	b.close(now)
}

// close lets no call go until the reset, or where none is known for a pause,
// longer each time. While closed already it changes nothing: calls that went
// together are refused together.
func (b *budget) close(now time.Time) {
	if b.closed() && now.Before(b.until) {
		return
	}
	b.closedAt, b.until = now, b.resetAt
	if !b.until.After(now) {
		b.pause = min(max(budgetBasket, 2*b.pause), budgetWindow)
		b.until = now.Add(b.pause)
	}
}

// open lets calls go again, if the answer that says so is to a call that
// entered since. Where it told no sum, none is known.
func (b *budget) open(entered time.Time, told bool) {
	if !entered.After(b.closedAt) {
		return
	}
	if !told {
		b.used = 0
	}
	b.closedAt, b.until, b.pause, b.blocked = time.Time{}, time.Time{}, 0, false
}

// lapse forgets a sum of which by now nothing can be left. Of a block that is
// not known: a probe will tell.
func (b *budget) lapse(now time.Time) {
	if b.used == 0 || now.Sub(b.told) <= budgetWindow+budgetSlack {
		return
	}
	b.used, b.resetAt = 0, time.Time{}
	if !b.blocked {
		b.open(now, true)
	}
}

func (b *budget) state(k BudgetKey, limit time.Duration) BudgetState {
	return BudgetState{
		BudgetKey: k, Used: b.used, Ratio: b.ratio(limit), ResetAt: b.resetAt,
		Blocked: b.blocked, ClosedUntil: b.until, UnderWay: b.underway,
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

// boundReset is the reset as far as it can be believed: a past one is none, and
// none is further than a sum reaches back.
func boundReset(now, reset time.Time) time.Time {
	if !reset.After(now) {
		return time.Time{}
	}
	if latest := now.Add(budgetWindow + budgetSlack); reset.After(latest) {
		return latest
	}
	return reset
}

package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// arrivalBound is how long a call that was sent may still be on its way. Until
// it is answered, or this has passed, the upstream may not have counted it.
const arrivalBound = time.Second

// lookAgain is the longest sleep on a lowered rate, which grows meanwhile.
const lookAgain = time.Second

// A bucket models, at its worst, the counter that the upstream keeps for us.
// Its level rises by one with each call sent and drains evenly at the plan's
// rate, or at a lower one that was learned from refusals; a slot is due while
// the level after it stays within the plan's burst less a margin.
//
// Why that is enough. The upstream refuses when its counter passes X; the
// counter falls by Y once a second, at an unknown phase, never below zero; a
// call reaches it at an unknown time between its sending and its answer. Let B
// be X less the margin of ceil(Y)-1. The level never drains below the number
// of calls in flight: what has not arrived cannot be drained. Now take any
// moment t and the last moment v before it at which the counter stood at zero.
// The counter at t holds what arrived in [v, t] less the ticks since v, at
// least floor(t-v) of them, each worth a full Y. What arrived is what was in
// flight at v, at most the level at v, and what was sent since, at most B less
// the level at v plus Y(t-v). So the counter is at most
//
//	B + floor(Y(t-v)) - Y floor(t-v) <= B + ceil(Y)-1 = X
//
// for any phase and any delays, however they vary, if we alone spend the limit
// (a lower rate or a higher level only lowers the sum). Where Y is no whole
// number, the difference is below Y, so a margin of ceil(Y) does; where Y is a
// multiple of a half, so is the difference, and ceil(Y)-1 still does. Where Y is
// above X, a tick empties the counter as a tick of X would, so X takes the place
// of Y (see Plan.Capped). A plain token bucket
// lacks the second line: a tick that falls before a delayed call has arrived
// drains nothing, and the call after it is refused.
//
// golang.org/x/time/rate keeps the tokens, which are B less the level; its
// burst is lowered by the calls in flight. A bucket has no lock: its line has.
// The times it is given must not go back, since rate.Limiter then fills twice
// what lies between: a line reads the clock only when it holds its lock.
type bucket struct {
	plan   Plan
	margin int
	learn  learner
	tokens *rate.Limiter
	flight []*Slot // sent and not known to have arrived, oldest first
	unseen int     // those of flight that are unanswered
	added  float64 // all that ever raised the level
}

func newBucket(p Plan) *bucket {
	p = p.Capped()
	b := &bucket{plan: p, learn: newLearner(p)}
	b.margin = p.margin()
	b.tokens = rate.NewLimiter(rate.Limit(p.Rate), b.size())
	return b
}

// size is the burst that we allow ourselves.
func (b *bucket) size() int { return max(1, b.plan.Burst-b.margin) }

// level is the upstream's counter as we fear it.
func (b *bucket) level(now time.Time) float64 {
	b.settle(now)
	return float64(b.size()) - b.tokens.TokensAt(now)
}

// fill is the level as it is shown, from 0 to the plan's burst. A margin that
// refusals have widened makes less of the burst the whole of it.
func (b *bucket) fill(now time.Time) float64 {
	whole := float64(b.plan.Burst-b.plan.margin()) / float64(b.size())
	return min(max(b.level(now), 0)*whole, float64(b.plan.Burst))
}

// setLevel starts over at the given level, which may be above the burst.
func (b *bucket) setLevel(now time.Time, level float64) {
	level = max(level, float64(b.unseen))
	whole := math.Ceil(level)
	b.tokens = rate.NewLimiter(b.tokens.Limit(), b.size())
	early := now.Add(-seconds((whole - level) / float64(b.tokens.Limit())))
	for n := int(whole); n > 0; n -= b.size() {
		b.tokens.ReserveN(early, min(n, b.size()))
	}
	b.tokens.SetBurstAt(now, b.size()-b.unseen)
}

// due tells how long until a slot may be taken: zero is now. Ask again then:
// calls in flight may still hold the level up. Ask sooner when one is answered.
func (b *bucket) due(now time.Time) time.Duration {
	b.settle(now)
	missing := 1 - b.tokens.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	wait := seconds(missing/float64(b.tokens.Limit())) + 1
	if b.lowered() {
		wait = min(wait, lookAgain)
	}
	if b.size()-b.unseen < 1 {
		wait = max(wait, b.flight[0].sent.Add(arrivalBound).Sub(now))
	}
	return wait
}

// wait foretells how long until a slot is due to one with so many ahead.
func (b *bucket) wait(now time.Time, ahead int) time.Duration {
	missing := float64(ahead+1) - b.tokens.TokensAt(now)
	return max(b.due(now), b.learn.wait(now, missing))
}

// take spends a slot that is due.
func (b *bucket) take(s *Slot) {
	b.tokens.AllowN(s.sent, 1)
	b.flight = append(b.flight, s)
	b.unseen++
	b.added++
	s.bucket, s.added = b, b.added
	b.tokens.SetBurstAt(s.sent, b.size()-b.unseen)
}

// arrived books that the upstream has seen the call of a slot.
func (b *bucket) arrived(now time.Time, s *Slot) {
	b.settle(now)
	b.see(now, s)
}

func (b *bucket) see(at time.Time, s *Slot) {
	if !s.seen {
		s.seen = true
		b.unseen--
		b.tokens.SetBurstAt(at, b.size()-b.unseen)
	}
}

// giveBack undoes take: the call was never sent. Of one that was presumed to
// have arrived, part may have drained already, and that is lost: taking it back
// too would take it from the calls that were sent after it. What raised the
// level first drains first, so what is left of the call is the level less all
// that was added since.
func (b *bucket) giveBack(now time.Time, s *Slot) {
	if s.bucket != b {
		return
	}
	level := b.level(now)
	left := 1.0
	if s.seen {
		left = min(max(level-(b.added-s.added), 0), 1)
	}
	b.see(now, s)
	b.setLevel(now, level-left)
}

// accepted books that the upstream has taken the call of a slot.
func (b *bucket) accepted(now time.Time, s *Slot) {
	b.learn.accepted()
	b.arrived(now, s)
}

// refused books that the upstream's counter stands at its limit, whatever we
// thought, and that the refused call counted too: the level is the plan's burst
// and one. At a lower rate the margin's part of it is scaled down, for a pause
// is meant that lets a tick pass, not one that drains the margin.
//
// A refusal at the plan's rate may also mean that the margin is too small.
func (b *bucket) refused(now time.Time, s *Slot) {
	b.arrived(now, s)
	level := b.level(now)
	lowered := b.lowered()
	if b.learn.refused(now, s.sent) && !lowered {
		b.margin = b.plan.widen(b.margin)
	}
	b.pace(now)
	margin := float64(b.margin) * float64(b.tokens.Limit()) / b.plan.Rate
	level = max(level, float64(b.size())+margin) + 1
	b.added += level // it is measured now: no earlier call that was never sent is part of it
	b.setLevel(now, level)
}

// lowered tells whether the rate in force is below the plan's.
func (b *bucket) lowered() bool { return float64(b.tokens.Limit()) < b.plan.Rate }

// pace puts the rate of the moment in force.
func (b *bucket) pace(now time.Time) {
	if r := rate.Limit(b.learn.rate(now)); r != b.tokens.Limit() {
		b.tokens.SetLimitAt(now, r)
	}
}

// settle brings the bucket up to date: the rate, and the calls that are known,
// or by now sure, to have arrived.
func (b *bucket) settle(now time.Time) {
	for len(b.flight) > 0 {
		s := b.flight[0]
		at := s.sent.Add(arrivalBound)
		if !s.seen && at.After(now) {
			break
		}
		b.flight[0] = nil
		b.flight = b.flight[1:]
		b.see(at, s)
	}
	b.pace(now)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// fullAt is when the bucket will be full again: its whole state in one instant,
// which survives the process. Calls in flight may not have arrived yet.
func (b *bucket) fullAt(now time.Time) time.Time {
	return now.Add(arrivalBound + seconds(b.level(now)/b.plan.Rate))
}

// restore sets the level by an instant that fullAt gave. One further off than
// any bucket takes (the clock was set back) counts as a full counter.
func (b *bucket) restore(now, fullAt time.Time) {
	left := max(0, fullAt.Sub(now))
	b.setLevel(now, min(left.Seconds()*b.plan.Rate, float64(b.plan.Burst)+1))
}

// widen lets the bucket have a margin that was learned before.
func (b *bucket) widen(now time.Time, margin int) {
	level := b.level(now)
	b.margin = margin
	b.setLevel(now, level)
}

// quiet reports whether nothing that was sent or refused slows a call down.
func (b *bucket) quiet(now time.Time) bool { return b.level(now) <= 0 && !b.lowered() }

// idle reports whether the bucket is as good as new, its margin apart.
func (b *bucket) idle(now time.Time) bool { return b.quiet(now) && b.learn.forgot(now) }

package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// arrivalBound is how long a call that was sent may still be on its way. Until
// it is answered, or this time has passed, the upstream may not have counted it.
const arrivalBound = time.Second

// maxSleep is the longest wait for a slot before the bucket is asked again,
// while the rate is lowered: it grows meanwhile.
const maxSleep = time.Second

// A bucket models the worst case of the counter that the upstream keeps for us.
// Its level rises by one with each call that is sent, and drains evenly at the
// plan's rate, or at a lower one that refusals have taught. A slot is due while
// the level with it stays within the plan's burst less a margin.
//
// # Why no call is refused
//
// The upstream refuses a call when its counter passes X, the burst. The counter
// falls by Y, the rate, once a second, never below zero, and we do not know when
// in the second. A call reaches it at some time between its sending and its
// answer. We allow ourselves B, which is X less a margin of ceil(Y)-1, and the
// level never drains below the number of calls in flight: a call that has not
// arrived cannot be drained.
//
// Take any moment t, and the last moment v before it at which the counter was
// zero.
//
//  1. The counter at t holds what arrived since v, less the ticks since v. There
//     were at least floor(t-v) of them, and each took a full Y off, since the
//     counter did not reach zero.
//
//  2. What arrived since v was either in flight at v, which is at most the level
//     at v, or sent since v, which is at most B less the level at v plus Y(t-v),
//     since the level stays within B. Together that is at most B + Y(t-v).
//
//  3. So the counter at t is at most
//
//     B + floor(Y(t-v)) - Y floor(t-v) <= B + ceil(Y)-1 = X
//
// This holds for every phase of the tick and for all delays, however they vary,
// as long as nobody else spends the limit. A lower rate or a higher level only
// makes the sum smaller.
//
// Where Y is not a whole number, the difference in step 3 is below Y, so a margin
// of ceil(Y) is enough. Where Y is a multiple of a half, so is the difference, and
// ceil(Y)-1 is enough. Where Y is above X, a tick empties the counter as a tick of
// X would, so X takes the place of Y (see Plan.Capped).
//
// A plain token bucket lacks step 2: it drains nothing at a tick that comes before
// a delayed call has arrived, and the call after that is refused.
//
// # How it is kept
//
// golang.org/x/time/rate keeps the tokens, which are B less the level. Its burst
// is lowered by the calls in flight. A bucket has no lock: its line has. It must
// not be given times that run backwards, since rate.Limiter would then add the
// tokens of the time between twice: so a line reads the clock only while it holds
// its lock.
type bucket struct {
	plan       Plan
	part       float64 // of the plan's limit that is this bucket's; the rest is kept elsewhere, see Report.Part
	margin     int
	adaptive   adaptiveRate
	tokens     *rate.Limiter
	inFlight   []*Slot // sent and not known to have arrived, oldest first
	unanswered int     // those of inFlight that have not arrived as far as we know
	added      float64 // the sum of all that ever raised the level
}

func newBucket(p Plan) *bucket {
	p = p.Capped()
	b := &bucket{plan: p, part: 1, adaptive: newAdaptiveRate(p)}
	b.margin = p.margin()
	b.tokens = rate.NewLimiter(rate.Limit(p.Rate), b.size())
	return b
}

// size is the burst that we allow ourselves.
func (b *bucket) size() int {
	return max(1, int(float64(b.plan.Burst-b.margin)*b.part+rounding))
}

// rate is the rate in force.
func (b *bucket) rate(now time.Time) float64 { return b.adaptive.rate(now) * b.part }

// level is the highest that the upstream's counter can be.
func (b *bucket) level(now time.Time) float64 {
	b.update(now)
	return float64(b.size()) - b.tokens.TokensAt(now)
}

// shownLevel is the level for people, from 0 to the plan's burst. A bucket whose
// margin refusals have widened is shown as full when it gives no slot, like any
// other.
func (b *bucket) shownLevel(now time.Time) float64 {
	scale := float64(b.plan.Burst-b.plan.margin()) / float64(b.size())
	return min(max(b.level(now), 0)*scale, float64(b.plan.Burst))
}

// setLevel starts over at the given level, which may be above the burst.
func (b *bucket) setLevel(now time.Time, level float64) {
	level = max(level, float64(b.unanswered))
	whole := math.Ceil(level)
	b.tokens = rate.NewLimiter(b.tokens.Limit(), b.size())
	early := now.Add(-seconds((whole - level) / float64(b.tokens.Limit())))
	for n := int(whole); n > 0; n -= b.size() {
		b.tokens.ReserveN(early, min(n, b.size()))
	}
	b.tokens.SetBurstAt(now, b.size()-b.unanswered)
}

// due returns how long to wait before asking for a slot again; 0: one is due.
// There may be none then, if calls in flight still hold the level up. There may
// be one sooner, when a call is answered.
func (b *bucket) due(now time.Time) time.Duration {
	b.update(now)
	missing := 1 - b.tokens.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	wait := seconds(missing/float64(b.tokens.Limit())) + 1
	if b.lowered() {
		wait = min(wait, maxSleep)
	}
	if b.size()-b.unanswered < 1 {
		wait = max(wait, b.inFlight[0].sent.Add(arrivalBound).Sub(now))
	}
	return wait
}

// estimate is how long a call with so many ahead of it waits for a slot.
func (b *bucket) estimate(now time.Time, ahead int) time.Duration {
	missing := float64(ahead+1) - b.tokens.TokensAt(now)
	return max(b.due(now), b.adaptive.estimate(now, missing/b.part))
}

// take spends a slot that is due.
func (b *bucket) take(s *Slot) {
	b.tokens.AllowN(s.sent, 1)
	b.inFlight = append(b.inFlight, s)
	b.unanswered++
	b.added++
	s.bucket, s.added = b, b.added
	b.tokens.SetBurstAt(s.sent, b.size()-b.unanswered)
}

// answered notes that the upstream has counted the call of a slot.
func (b *bucket) answered(now time.Time, s *Slot) {
	b.update(now)
	b.setArrived(now, s)
}

func (b *bucket) setArrived(at time.Time, s *Slot) {
	if !s.arrived {
		s.arrived = true
		b.unanswered--
		b.tokens.SetBurstAt(at, b.size()-b.unanswered)
	}
}

// giveBack undoes take: the call was never sent. Where it was presumed to have
// arrived, part of it may have drained already. That part is lost, since taking
// it back would take it from the calls that were sent later. What raised the
// level first drains first, so what is left of the call is the level less all
// that was added since.
func (b *bucket) giveBack(now time.Time, s *Slot) {
	if s.bucket != b {
		return
	}
	level := b.level(now)
	left := 1.0
	if s.arrived {
		left = min(max(level-(b.added-s.added), 0), 1)
	}
	b.setArrived(now, s)
	b.setLevel(now, level-left)
}

// accepted notes that the upstream accepted the call of a slot.
func (b *bucket) accepted(now time.Time, s *Slot) {
	b.adaptive.accepted(1 / b.part)
	b.answered(now, s)
}

// refused notes that the upstream refused the call of a slot. Its counter is
// then at its limit, whatever we thought, and the refused call counted too: so
// the level becomes the plan's burst and one. At a lowered rate the margin's part
// of it is scaled down: the pause is meant to let a tick pass, not to drain the
// margin.
//
// A refusal at the plan's rate may also mean that the margin is too small.
func (b *bucket) refused(now time.Time, s *Slot) {
	b.answered(now, s)
	level := b.level(now)
	lowered := b.lowered()
	if b.adaptive.refused(now, s.sent) && !lowered {
		b.margin = max(b.margin, b.plan.widen(b.margin))
	}
	b.updateRate(now)
	margin := float64(b.margin) * float64(b.tokens.Limit()) / b.plan.Rate
	level = max(level, float64(b.size())+margin) + 1
	b.added += level // it is measured now, so calls taken before have no part in it
	b.setLevel(now, level)
}

// lowered reports whether refusals have lowered the rate in force.
func (b *bucket) lowered() bool { return float64(b.tokens.Limit()) < b.plan.Rate*b.part }

// updateRate puts the rate in force that holds now.
func (b *bucket) updateRate(now time.Time) {
	if r := rate.Limit(b.rate(now)); r != b.tokens.Limit() {
		b.tokens.SetLimitAt(now, r)
	}
}

// update brings the bucket up to date: its rate, and the calls that have
// arrived, as far as that is known or certain by now.
func (b *bucket) update(now time.Time) {
	for len(b.inFlight) > 0 {
		s := b.inFlight[0]
		at := s.sent.Add(arrivalBound)
		if !s.arrived && at.After(now) {
			break
		}
		b.inFlight[0] = nil
		b.inFlight = b.inFlight[1:]
		b.setArrived(at, s)
	}
	b.updateRate(now)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// fullAt is when the bucket will be full of tokens again: its whole state in one
// instant, which can be kept over a restart. Calls in flight may not have arrived
// yet.
func (b *bucket) fullAt(now time.Time) time.Time {
	return now.Add(arrivalBound + seconds(b.level(now)/(b.plan.Rate*b.part)))
}

// restore sets the level by an instant that fullAt returned. An instant that is
// further off than any bucket takes (the clock was set back) counts as a full
// counter.
func (b *bucket) restore(now, fullAt time.Time) {
	left := max(0, fullAt.Sub(now))
	b.setLevel(now, min(left.Seconds()*b.plan.Rate, float64(b.plan.Burst)+1))
}

// setMargin puts a margin in force that was learned before.
func (b *bucket) setMargin(now time.Time, margin int) {
	level := b.level(now)
	b.margin = margin
	b.setLevel(now, level)
}

// replan puts another plan in force and starts over at the given level. What was
// learned of the rate stays in proportion.
func (b *bucket) replan(now time.Time, p Plan, level float64) {
	b.adaptive.share *= p.Rate / b.plan.Rate
	b.plan, b.adaptive.plan = p, p.Rate
	b.updateRate(now)
	b.setLevel(now, level)
}

// setPart gives the bucket another part of the plan's limit. Its level changes as
// much as its size.
func (b *bucket) setPart(now time.Time, part float64) {
	level, before := b.level(now), b.size()
	b.part = part
	b.updateRate(now)
	b.setLevel(now, level+float64(b.size()-before))
}

// quiet reports whether nothing that was sent or refused slows a call down.
func (b *bucket) quiet(now time.Time) bool { return b.level(now) <= 0 && !b.lowered() }

// idle reports whether the bucket is as good as new, its margin apart.
func (b *bucket) idle(now time.Time) bool { return b.quiet(now) && b.adaptive.forgot(now) }

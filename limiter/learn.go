package limiter

import (
	"math"
	"time"
)

// A learner finds the rate that is left to us when somebody else spends the
// same limit. Nothing tells it but the refusals, so it has to meet one now and
// then; the art is to meet few. It pays for that with an uneven pace.
//
// At a refusal the upstream's counter is full. So between two refusals it went
// from full to full, and what it accepted of ours meanwhile is what was left to
// us: the share. (If it ran empty in between, more was left; growing finds it.)
// Three stretches follow a refusal, over a span of time:
//
//   - for the first half, three quarters of the share: the counter falls, and its
//     depth is then our headroom, as is the queue of a router for TCP;
//   - then the share, and from there to the plan's rate by the cube of the
//     time, flat at first, as TCP CUBIC grows (RFC 9438): the headroom is used
//     up, and the counter does useful work all the while;
//   - after the span, the plan's rate, as if nothing had happened.
//
// The span is the time in which the plan drains its burst 2.2 times. So a
// refusal comes once in many calls, however fast the plan, and an upstream that
// runs faster than real time is learned faster by as much. It is 55 s on the
// standard plan and never longer, so that we are back at the plan's rate within
// a minute after the other has gone.
//
// A refusal with none before it in two spans changes no rate: there is nothing
// to measure, and it may be chance. A learner has no clock and no lock.
type learner struct {
	plan    float64       // calls a second
	span    time.Duration // from a refusal to the plan's rate
	share   float64       // calls a second left to us, as of the last refusal
	refusal time.Time     // the last one; zero: none yet
	taken   int           // calls accepted since
}

const (
	longestSpan = 55 * time.Second
	spanBursts  = 2.2
)

func newLearner(p Plan) learner {
	span := min(longestSpan.Seconds(), spanBursts*float64(p.Burst)/p.Rate)
	return learner{plan: p.Rate, span: seconds(span), share: p.Rate}
}

// rate is the rate in force, in calls a second: above zero, and at most the
// plan's.
func (l *learner) rate(now time.Time) float64 {
	const half = 1.0 / 2
	at := float64(now.Sub(l.refusal)) / float64(l.span)
	switch {
	case at >= 1 || l.share == l.plan:
		return l.plan
	case at < half:
		return l.share * 3 / 4
	}
	return l.share + (l.plan-l.share)*math.Pow((at-half)/(1-half), 3)
}

// wait foretells how long so many calls take from now on, if none is refused.
func (l *learner) wait(now time.Time, calls float64) time.Duration {
	step := l.span / 50
	for t := time.Duration(0); ; t += step {
		r := l.rate(now.Add(t))
		some := r * step.Seconds()
		if calls <= some || r == l.plan {
			return t + seconds(calls/r)
		}
		calls -= some
	}
}

// accepted books a call that the upstream took.
func (l *learner) accepted() { l.taken++ }

// forgot reports whether the last refusal has no effect any more, not on the
// next one either.
func (l *learner) forgot(now time.Time) bool { return now.Sub(l.refusal) >= 2*l.span }

// refused learns from the refusal of a call, and tells whether it is news. What
// was already on its way at the last refusal is not (TCP, too, slows down once a
// round trip).
//
// The share moves to what was measured, little after a short time and all but
// wholly after a span. It falls by half at the most, since a counter that ran
// empty makes it look too small, and stays above a tenth of the plan's rate:
// less would not spare the upstream much, and we would learn too seldom.
func (l *learner) refused(now, sent time.Time) (news bool) {
	if sent.Before(l.refusal) {
		return false
	}
	took := now.Sub(l.refusal)
	if l.forgot(now) {
		l.share = l.plan
	} else {
		known := l.span.Seconds() / 20
		measured := (l.share*known + float64(l.taken)) / (known + took.Seconds())
		l.share = min(max(measured, l.share/2, l.plan/10), l.plan)
	}
	l.refusal, l.taken = now, 0
	return true
}

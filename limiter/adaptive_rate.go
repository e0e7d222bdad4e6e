package limiter

import (
	"math"
	"time"
)

// An adaptiveRate finds the rate that is left to us when another program spends
// the same limit. Only refusals show it, so it has to meet one now and then, and
// it is made to meet few. The price is an uneven pace.
//
// At a refusal the upstream's counter is full. So between two refusals it went
// from full to full, and what it accepted from us meanwhile is what was left to
// us: our share. (If it ran empty in between, more was left; the growth finds
// that.) The rate after a refusal, over a span of time:
//
//   - For the first half of the span it is three quarters of the share. The
//     counter falls, and how far it falls is our headroom, as the queue of a
//     router is for TCP.
//   - Then it is the share, and grows from there to the plan's rate by the cube
//     of the time, slowly at first, as TCP CUBIC grows (RFC 9438). The headroom is
//     used up, and all the while the counter lets our calls through.
//   - After the span it is the plan's rate, as if nothing had happened.
//
// The span is the time in which the plan drains its burst 2.2 times. So there is
// one refusal in many calls, however fast the plan is, and an upstream that runs
// faster than real time is learned faster. The span is 55 s on the standard plan
// and never longer, so we are back at the plan's rate within a minute after the
// other program has stopped.
//
// A refusal with no other in the two spans before it does not lower the rate:
// there is nothing to measure, and it may be chance. An adaptiveRate has no clock
// and no lock.
type adaptiveRate struct {
	plan    float64       // calls per second
	span    time.Duration // from a refusal to the plan's rate
	share   float64       // calls per second left to us, as of the last refusal
	refusal time.Time     // the last one; zero: none yet
	accepts float64       // calls accepted since
}

const (
	longestSpan = 55 * time.Second
	spanBursts  = 2.2
)

func newAdaptiveRate(p Plan) adaptiveRate {
	span := min(longestSpan.Seconds(), spanBursts*float64(p.Burst)/p.Rate)
	return adaptiveRate{plan: p.Rate, span: seconds(span), share: p.Rate}
}

// rate is the rate in force, in calls per second: above zero, and at most the
// plan's.
func (a *adaptiveRate) rate(now time.Time) float64 {
	const half = 1.0 / 2
	at := float64(now.Sub(a.refusal)) / float64(a.span)
	switch {
	case at >= 1 || a.share == a.plan:
		return a.plan
	case at < half:
		return a.share * 3 / 4
	}
	return a.share + (a.plan-a.share)*math.Pow((at-half)/(1-half), 3)
}

// estimate is how long so many calls take from now on if none is refused.
func (a *adaptiveRate) estimate(now time.Time, calls float64) time.Duration {
	step := a.span / 50
	for t := time.Duration(0); ; t += step {
		r := a.rate(now.Add(t))
		some := r * step.Seconds()
		if calls <= some || r == a.plan {
			return t + seconds(calls/r)
		}
		calls -= some
	}
}

// accepted counts calls that the upstream accepted.
func (a *adaptiveRate) accepted(calls float64) { a.accepts += calls }

// forgot reports whether the last refusal has no effect any more, not even on
// what the next one does.
func (a *adaptiveRate) forgot(now time.Time) bool { return now.Sub(a.refusal) >= 2*a.span }

// refused learns from the refusal of a call, and reports whether it is new. The
// refusal of a call that was already on its way at the last one is not (TCP, too,
// slows down only once per round trip).
//
// The share moves to what was measured: little after a short time, and almost
// wholly after a span. It falls by half at most, since a counter that ran empty
// makes it look too small, and stays above a tenth of the plan's rate: less would
// hardly spare the upstream, and we would learn too seldom.
func (a *adaptiveRate) refused(now, sent time.Time) (isNew bool) {
	if sent.Before(a.refusal) {
		return false
	}
	took := now.Sub(a.refusal)
	if a.forgot(now) {
		a.share = a.plan
	} else {
		known := a.span.Seconds() / 20
		measured := (a.share*known + a.accepts) / (known + took.Seconds())
		a.share = min(max(measured, a.share/2, a.plan/10), a.plan)
	}
	a.refusal, a.accepts = now, 0
	return true
}

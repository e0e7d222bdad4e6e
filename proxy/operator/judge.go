package operator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// A state is how a portal does, in a word.
type state string

const (
	isBlocked     state = "blocked"     // OVERLOAD_LIMIT: nothing is let in
	isUnreachable state = "unreachable" // the last attempt did not reach it
	isFailing     state = "failing"     // calls failed in the last minute
	isHolding     state = "holding"     // calls of a method are held back for its operating time
	isSlowed      state = "slowed"      // it refuses calls for its rate limit, none failed for that
	isQueueing    state = "queueing"    // calls wait
	isOK          state = "ok"
	isIdle        state = "idle" // no calls in the last minute
)

// states has the worst first.
var states = []state{isBlocked, isUnreachable, isFailing, isHolding, isSlowed, isQueueing, isOK, isIdle}

// anotherProgram is what most often makes a portal refuse calls.
const anotherProgram = "Another program behind the same address may use the same limit."

// judge says how a portal does, in a word and in a sentence.
func (s *portalStatus) judge() (state, string) {
	m := s.LastMinute
	if s.BreakerOpen {
		return isBlocked, "The portal blocks its REST API for overload. The proxy sends one call per minute to see whether the block is over."
	}
	if s.unreachable.is() {
		return isUnreachable, fmt.Sprintf("Unreachable for %s: %s.", span(s.unreachable.since), s.unreachable.cause)
	}
	if m.Failed > 0 {
		return isFailing, fmt.Sprintf("%d of %d calls failed in the last minute. The last failure: %s.", m.Failed, m.Calls, s.lastFailure)
	}
	for _, b := range s.Operating {
		if b.closedFor > 0 {
			return isHolding, fmt.Sprintf("%s has used up its operating time: its calls are held back for another %s.", b.Method, span(b.closedFor))
		}
	}
	switch {
	case m.Refused > 0:
		return isSlowed, fmt.Sprintf("The portal refused %s in the last minute for its rate limit, and the proxy sent the calls again. "+anotherProgram, count(m.Refused, "attempt"))
	case s.Bucket != nil && s.Bucket.Rate < s.Bucket.PlanRate:
		return isSlowed, fmt.Sprintf("The proxy sends only %g of %g calls per second, because the portal refused calls. "+anotherProgram, s.Bucket.Rate, s.Bucket.PlanRate)
	case s.Queue.Waiting == 1:
		return isQueueing, fmt.Sprintf("1 call waits; a new one would wait about %.0f s.", math.Ceil(s.Queue.WaitSeconds))
	case s.Queue.Waiting > 1:
		return isQueueing, fmt.Sprintf("%d calls wait; a new one would wait about %.0f s.", s.Queue.Waiting, math.Ceil(s.Queue.WaitSeconds))
	case m.Calls == 0:
		return isIdle, "No calls in the last minute."
	}
	return isOK, ""
}

// worse sorts portals by their states, then by how much they fail and wait.
func worse(a, b portalStatus) int {
	return cmp.Or(
		cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)),
		cmp.Compare(b.LastMinute.Failed, a.LastMinute.Failed),
		cmp.Compare(b.Queue.Waiting, a.Queue.Waiting),
		cmp.Compare(a.Portal, b.Portal))
}

// A failure is why a call failed.
type failure struct {
	code   string
	source metrics.Source
	reason bitrix24.Reason
	status int
}

// String says who caused it: a code of the portal's may also come from our queue.
func (f failure) String() string {
	switch from := f.source; {
	case f.reason == ReasonStatus:
		return fmt.Sprintf("status %d from the portal", f.status)
	case from == metrics.FromProxy && (f.reason == bitrix24.Reason(limiter.QueueFull) || f.reason == bitrix24.Reason(limiter.QueueWait)):
		return fmt.Sprintf("%s from the proxy's own queue (%s)", f.code, f.reason)
	default:
		return fmt.Sprintf("%s from the %s (%s)", f.code, from, f.reason)
	}
}

// unreachable is for how long a portal could not be reached, and why. The zero
// value is a portal that can be reached.
type unreachable struct {
	since time.Duration
	cause string
}

func (u unreachable) is() bool { return u.cause != "" }

// span is a length of time for people.
func span(d time.Duration) string {
	switch s := int(math.Round(d.Seconds())); {
	case d < 50*time.Millisecond:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 2*60*60:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case s < 2*24*60*60:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f d", d.Hours()/24)
	}
}

// count is a number with its noun.
func count[N ~int | ~int32 | ~int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

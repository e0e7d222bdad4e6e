package operator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// states has the worst first.
var states = []state{isBlocked, isUnreachable, isFailing, isHolding, isSlowed, isQueueing, isOK, isIdle}

// anotherProgram is what most often makes a portal refuse calls.
const anotherProgram = "Another program behind the same address may use the same limit."

// judge says how a portal does, in a word and in a sentence.
func (s *portalStatus) judge() (state, string) {
	m, held := s.LastMinute, s.held()
	switch {
	case s.BreakerOpen:
		return isBlocked, "The portal blocks its REST API for overload. The proxy sends one call per minute to see whether the block is over."
	case s.unreachable.is():
		return isUnreachable, fmt.Sprintf("Unreachable for %s: %s.", span(s.unreachable.since), s.unreachable.cause)
	case m.Failed > 0:
		return isFailing, fmt.Sprintf("%d of %d calls failed in the last minute. The last failure: %s.", m.Failed, m.Calls, s.lastFailure)
	case held != nil:
		return isHolding, fmt.Sprintf("%s has used up its operating time: its calls are held back for another %s.", held.Method, span(held.closedFor))
	case m.Refused > 0:
		return isSlowed, fmt.Sprintf("The portal refused %s in the last minute for its rate limit, and the proxy sent the calls again. "+anotherProgram, count(m.Refused, "attempt"))
	case s.Bucket != nil && s.Bucket.lowered:
		return isSlowed, fmt.Sprintf("The proxy sends only %g of %g calls per second, because the portal refused calls. "+anotherProgram, s.Bucket.Rate, s.Bucket.PlanRate)
	case s.Queue.Waiting > 0:
		return isQueueing, fmt.Sprintf("%s; a new call would wait about %.0f s.", callsWait(s.Queue.Waiting), math.Ceil(s.Queue.WaitSeconds))
	case m.Calls == 0:
		return isIdle, "No calls in the last minute."
	}
	return isOK, ""
}

func callsWait(n int) string {
	if n == 1 {
		return "1 call waits"
	}
	return count(n, "call") + " wait"
}

// held is the fullest budget of operating time whose method is held back, or nil.
func (s *portalStatus) held() *operatingStatus {
	for i := range s.Operating {
		if s.Operating[i].closedFor > 0 {
			return &s.Operating[i]
		}
	}
	return nil
}

// worse sorts portals by their states, then by how much they fail and wait.
func worse(a, b portalStatus) int {
	return cmp.Or(
		cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)),
		cmp.Compare(b.LastMinute.Failed, a.LastMinute.Failed),
		cmp.Compare(b.Queue.Waiting, a.Queue.Waiting),
		cmp.Compare(a.Portal, b.Portal))
}

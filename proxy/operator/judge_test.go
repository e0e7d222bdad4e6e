package operator

import (
	"slices"
	"testing"
	"time"

	"b24proxy/metrics"
)

// Each state has a sentence that says what happens, since when or how much, and
// who caused it.
func TestSentences(t *testing.T) {
	refusing := minuteStatus{Calls: 19, Refused: 1}
	for name, c := range map[string]struct {
		portal portalStatus
		state  state
		want   string
	}{
		"nothing happened":               {portalStatus{}, isIdle, "No calls in the last minute."},
		"all is well":                    {portalStatus{LastMinute: minuteStatus{Calls: 1}}, isOK, ""},
		"one call waits":                 {portalStatus{Queue: queueStatus{Waiting: 1, WaitSeconds: 0.5}}, isQueueing, "1 call waits; a new call would wait about 1 s."},
		"calls wait":                     {portalStatus{Queue: queueStatus{Waiting: 35, WaitSeconds: 17.2}}, isQueueing, "35 calls wait; a new call would wait about 18 s."},
		"the portal refused an attempt":  {portalStatus{LastMinute: refusing}, isSlowed, "The portal refused 1 attempt in the last minute for its rate limit, and the proxy sent the calls again. Another program behind the same address may use the same limit."},
		"the shared store is away":       {portalStatus{Bucket: &bucketStatus{Rate: 1, PlanRate: 2}, LastMinute: minuteStatus{Calls: 1}}, isOK, ""},
		"the rate is lowered":            {portalStatus{Bucket: &bucketStatus{Rate: 1.5, PlanRate: 2, lowered: true}}, isSlowed, "The proxy sends only 1.5 of 2 calls per second, because the portal refused calls. Another program behind the same address may use the same limit."},
		"a method used up its time":      {portalStatus{Operating: []operatingStatus{{Method: "crm.deal.list", closedFor: 90 * time.Second}}}, isHolding, "crm.deal.list has used up its operating time: its calls are held back for another 90 s."},
		"the portal failed":              {failing(failure{"INTERNAL_SERVER_ERROR", metrics.FromPortal, "internal", 500}), isFailing, "14 of 19 calls failed in the last minute. The last failure: INTERNAL_SERVER_ERROR from the portal (internal)."},
		"the portal refused for good":    {failing(failure{"QUERY_LIMIT_EXCEEDED", metrics.FromPortal, "rate_limit", 503}), isFailing, "14 of 19 calls failed in the last minute. The last failure: QUERY_LIMIT_EXCEEDED from the portal (rate_limit)."},
		"our own queue was full":         {failing(failure{"QUERY_LIMIT_EXCEEDED", metrics.FromProxy, "queue_full", 503}), isFailing, "14 of 19 calls failed in the last minute. The last failure: QUERY_LIMIT_EXCEEDED from the proxy's own queue (queue_full)."},
		"the connection broke":           {failing(failure{"ERROR_UNEXPECTED_ANSWER", metrics.FromNetwork, "reset", 500}), isFailing, "14 of 19 calls failed in the last minute. The last failure: ERROR_UNEXPECTED_ANSWER from the network (reset)."},
		"a page came outside of the API": {failing(failure{"empty", metrics.FromPortal, ReasonStatus, 502}), isFailing, "14 of 19 calls failed in the last minute. The last failure: status 502 from the portal."},
		"nothing reaches the portal":     {portalStatus{unreachable: unreachable{58 * time.Second, "connection refused"}}, isUnreachable, "Unreachable for 58 s: connection refused."},
		"the portal blocks all calls":    {portalStatus{BreakerOpen: true}, isBlocked, "The portal blocks its REST API for overload. The proxy sends one call per minute to see whether the block is over."},
	} {
		t.Run(name, func(t *testing.T) {
			if state, got := c.portal.judge(); state != c.state || got != c.want {
				t.Errorf("got  %s: %s\nwant %s: %s", state, got, c.state, c.want)
			}
		})
	}
}

func failing(last failure) portalStatus {
	return portalStatus{LastMinute: minuteStatus{Calls: 19, Failed: 14}, lastFailure: last}
}

// The worst portal comes first: by its state, then by what fails and waits, then
// by name.
func TestWorse(t *testing.T) {
	want := []portalStatus{
		{Portal: "z", State: isBlocked},
		{Portal: "y", State: isFailing, LastMinute: minuteStatus{Failed: 2}},
		{Portal: "x", State: isFailing, LastMinute: minuteStatus{Failed: 1}, Queue: queueStatus{Waiting: 2}},
		{Portal: "w", State: isFailing, LastMinute: minuteStatus{Failed: 1}, Queue: queueStatus{Waiting: 1}},
		{Portal: "a", State: isOK},
		{Portal: "b", State: isOK},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, worse)
	for i := range want {
		if got[i].Portal != want[i].Portal {
			t.Errorf("place %d: %s, want %s", i, got[i].Portal, want[i].Portal)
		}
	}
}

// A method whose time is over at this moment is not held back.
func TestHeldUntilNow(t *testing.T) {
	for left, want := range map[time.Duration]state{0: isIdle, 1: isHolding, -time.Hour: isIdle} {
		s := portalStatus{Operating: []operatingStatus{{closedFor: left}}}
		if got, _ := s.judge(); got != want {
			t.Errorf("held for another %v: got %s, want %s", left, got, want)
		}
	}
}

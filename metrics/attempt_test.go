package metrics

import (
	"testing"
	"time"
)

// An attempt is in flight from its start to its end, and counted at its end.
func TestAttempts(t *testing.T) {
	const portal = "acme.bitrix24.com"
	m := New(Options{Portals: 1})
	m.AttemptStarted(portal)
	m.AttemptStarted(portal)
	m.AttemptDone(portal, 0, time.Second, "")

	own := gather(t, m)
	if got := values(own["portal_in_flight_requests"])[portal]; got != 1 {
		t.Errorf("got %v attempts in flight, want 1", got)
	}
	if got := values(own["portal_requests_total"])[portal+",none"]; got != 1 {
		t.Errorf("got %v attempts without an answer, want 1", got)
	}
}

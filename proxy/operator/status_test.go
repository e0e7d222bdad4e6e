package operator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
)

// A wall clock that is set changes no interval and no span: only what is shown
// as an instant.
func TestStatusAfterTheClockWasSet(t *testing.T) {
	var s series
	s.at(0).calls++
	for _, wall := range []time.Time{epochAt(-1_000_000), epochAt(1_000_000)} {
		if shown := s.status(5*time.Second, wall); shown.Calls[seriesSteps-1] != 1 || !shown.End.Equal(wall) {
			t.Errorf("at %v: %v until %v", wall, shown.Calls, shown.End)
		}
	}
	began := time.Now()
	h := newHistory(began)
	h.note(began.Add(time.Second), PortalUnreachable{Call: Call{Portal: acme}, Cause: "connection refused"})
	status := portalStatus{Portal: acme, Operating: []operatingStatus{{Method: "crm.deal.list", ClosedUntil: epochAt(-1_000_000), closedFor: 58 * time.Second}}}
	if state, why := status.judge(); state != isHolding || !strings.Contains(why, "58 s") {
		t.Errorf("%s: %s", state, why)
	}
	h.describe(began.Add(59*time.Second), &status)
	status.UnreachableSince = epochAt(1_000_000) // as a wall clock would have it
	if state, why := status.judge(); state != isUnreachable || !strings.Contains(why, "58 s") {
		t.Errorf("%s: %s", state, why)
	}
}

func TestRoundTo(t *testing.T) {
	if got := roundTo(1.23456, 3); got != 1.235 {
		t.Errorf("got %v", got)
	}
}

// Of the clients that wait, those with most calls are shown, and the others are counted.
func TestClientsInTheQueue(t *testing.T) {
	for clients, others := range map[int]int{3: 0, shownClients: 0, shownClients + 2: 2} {
		p := &Portal{Clients: make(map[string]int)}
		for i := range clients {
			p.Clients[fmt.Sprint("client ", i)] = i + 1
		}
		q := queueOf(p)
		if len(q.ByClient) != clients-others || q.OtherClients != others {
			t.Errorf("of %d clients: got %d and %d others, want %d and %d others", clients, len(q.ByClient), q.OtherClients, clients-others, others)
		}
		if most := q.ByClient[0]; most.Waiting != clients {
			t.Errorf("of %d clients: got %+v first, want the one with %d calls", clients, most, clients)
		}
	}
}

// The status says whether the shared store is there, since when it is not, and how
// many replicas share it. Without such a store it has nothing of that.
func TestSharedStoreInStatus(t *testing.T) {
	since := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for want, state := range map[string]*limiter.StoreState{
		`{"kind":"memory","keeps_credential_ids":false}`:                                                                      nil,
		`{"kind":"redis","keeps_credential_ids":true,"shared":{"up":true,"replicas":3}}`:                                      {Up: true, Replicas: 3},
		`{"kind":"redis","keeps_credential_ids":true,"shared":{"up":false,"away_since":"2026-05-04T03:02:01Z","replicas":2}}`: {Since: since, Replicas: 2},
	} {
		o := newTestOperator(t, func(c *Config) {
			if state != nil {
				c.Store, c.Shared = InRedis, func() limiter.StoreState { return *state }
			}
		})
		if got, err := json.Marshal(o.status().Store); err != nil || string(got) != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
}

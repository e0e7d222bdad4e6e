package operating

import (
	"testing"
	"time"
)

// A budget is held from the refusal of its method until an answer shows that it is let in,
// also while a call probes; other budgets are not.
func TestHolds(t *testing.T) {
	g := New(Config{Limit: 480 * time.Second, Keep: 10})
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	refused, other := Key{"u", "c", "crm.deal.list"}, Key{"u", "c", "user.get"}
	if g.Holds(now, refused) {
		t.Error("got a budget held of which nothing is known, want it not")
	}
	g.Blocked(now, refused)
	if !g.Holds(now, refused) || g.Holds(now, other) {
		t.Error("got the wrong budgets held, want the refused one alone")
	}
	now = now.Add(2 * time.Minute)
	probe, _, _ := g.Enter(now, refused, now)
	if probe == nil || !g.Holds(now, refused) {
		t.Fatal("got no probe, or a budget free while it probes, want it held")
	}
	probe.Done(now.Add(time.Second), Answer{Ran: true})
	if g.Holds(now.Add(time.Second), refused) {
		t.Error("got the budget held after the probe ran, want it free")
	}
}

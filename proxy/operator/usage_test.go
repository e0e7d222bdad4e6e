package operator

import (
	"fmt"
	"testing"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

var listCall = bitrix24.ParseCall("/rest/crm.deal.list")

// uses records calls of clients that ended after so many seconds.
func uses(u *usage, after int, client string, calls int, outcome metrics.Outcome, attempts int) {
	for range calls {
		u.note(time.Duration(after)*time.Second, CallEnded{Call: Call{Portal: acme, Client: client, API: listCall}, Outcome: outcome, Attempts: attempts})
	}
}

// Each client is listed with its calls of the last minute and hour, whether they
// waited, were sent again or were refused.
func TestUsageByClient(t *testing.T) {
	var u usage
	uses(&u, 0, "reports", 500, metrics.OK, 1)
	uses(&u, 1000, "crm-sync", 3, metrics.OK, 2)
	uses(&u, 1000, "crm-sync", 2, metrics.Rejected, 0)
	uses(&u, 1000, "none ", 4, metrics.MethodError, 1)
	u.note(1000*time.Second, CallEnded{Call: Call{Portal: acme, Client: "browser"}, Outcome: metrics.OK, Attempts: 1}) // not below /rest/
	for _, test := range []struct {
		after int
		want  string
	}{
		{1000, "[{crm-sync {{5 6 2} {5 6 2}}} {none {{4 4 0} {4 4 0}}} {reports {{0 0 0} {500 500 0}}}]"},
		{1064, "[{crm-sync {{5 6 2} {5 6 2}}} {none {{4 4 0} {4 4 0}}} {reports {{0 0 0} {500 500 0}}}]"},
		{1065, "[{reports {{0 0 0} {500 500 0}}} {crm-sync {{0 0 0} {5 6 2}}} {none {{0 0 0} {4 4 0}}}]"},
		{3899, "[{reports {{0 0 0} {500 500 0}}} {crm-sync {{0 0 0} {5 6 2}}} {none {{0 0 0} {4 4 0}}}]"},
		{3900, "[{crm-sync {{0 0 0} {5 6 2}}} {none {{0 0 0} {4 4 0}}}]"},
		{9000, "[]"},
	} {
		s := u.status(time.Duration(test.after) * time.Second)
		if got := fmt.Sprint(s.ByClient); got != test.want || s.OtherClients != 0 || s.Others != (spansStatus{}) {
			t.Errorf("after %d s: got %s and others %+v, want %s and none", test.after, got, s.Others, test.want)
		}
	}
}

// Clients may give themselves any number of names: those that are kept and shown are
// bounded, the busy ones stay, and no call is lost from the sum.
func TestUsageIsBounded(t *testing.T) {
	var u usage
	for i := range 1000 {
		uses(&u, 1, fmt.Sprint("client-", i), 1, metrics.OK, 1)
		uses(&u, 1, "busy", 2, metrics.OK, 1)
	}
	s := u.status(2 * time.Second)
	if len(u.clients) != keptClients || len(s.ByClient) != shownClients || s.OtherClients != keptClients-shownClients {
		t.Errorf("got %d clients kept, %d shown and %d others, want %d, %d and %d", len(u.clients), len(s.ByClient), s.OtherClients, keptClients, shownClients, keptClients-shownClients)
	}
	if got, want := s.ByClient[0].LastHour.Calls, int32(2000); got != want || s.ByClient[0].Client != "busy" {
		t.Errorf("got %+v first, want busy with %d calls", s.ByClient[0], want)
	}
	if got, want := s.Others.LastMinute.Calls, int32(1000-shownClients+1); got != want {
		t.Errorf("got %d calls of others, want %d", got, want)
	}
}

// A portal nobody has called yet has an empty list, not null.
func TestUsageOfNobody(t *testing.T) {
	if s := new(usage).status(0); s.ByClient == nil || len(s.ByClient) != 0 {
		t.Errorf("got %#v, want an empty list", s.ByClient)
	}
}

// The page says that names change only where it shows such names, and only where no
// state file keeps them.
func TestNamesThatChange(t *testing.T) {
	for _, c := range []struct {
		client string
		store  Store
		want   bool
	}{
		{"webhook 842ad73a6f96", InMemory, true}, {"oauth 842ad73a6f96", InMemory, true}, {"webhook 842ad73a6f96", InFile, false},
		{"crm-sync", InMemory, false}, {"none", InMemory, false}, {"webhook", InMemory, false},
	} {
		var u usage
		uses(&u, 0, c.client, 1, metrics.OK, 1)
		s := &status{Store: storeStatus{Kind: c.store, KeepsCredentialIDs: c.store == InFile}, Portals: []portalStatus{{Portal: acme, Usage: u.status(0)}}, Known: 1}
		if got := newView(s, choiceOf(nil), "").Rows[0].NamesChange; got != c.want {
			t.Errorf("%s, kept in %s: got %v, want %v", c.client, c.store, got, c.want)
		}
	}
}

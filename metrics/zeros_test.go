package metrics

import (
	"maps"
	"testing"
)

var expected = Expected{
	Errors:  map[Source][]string{FromPortal: {"QUERY_LIMIT_EXCEEDED"}, FromProxy: {"QUERY_LIMIT_EXCEEDED", "OVERLOAD_LIMIT"}},
	Reasons: []string{"queue_full", "queue_wait"},
}

// Five refusals in one burst are an increase of five: the counter was there, at
// zero, since the portal first appeared.
func TestBurstOfRefusalsIsSeenWhole(t *testing.T) {
	const portal = "acme.bitrix24.com"
	m := New(Options{Portals: 1, Expected: expected})
	m.AttemptStarted(portal)

	before, exists := values(gather(t, m)["rejected_total"])[portal+",queue_full"]
	if !exists || before != 0 {
		t.Fatalf("got rejected_total %v (there: %t) before the burst, want 0", before, exists)
	}
	for range 5 {
		m.Rejected(portal, "queue_full")
	}
	if got := values(gather(t, m)["rejected_total"])[portal+",queue_full"] - before; got != 5 {
		t.Errorf("got an increase of %v, want 5", got)
	}
}

// A portal brings the series that are expected, at zero, and no others.
func TestPortalsBeginAtZero(t *testing.T) {
	m := New(Options{Portals: 1, Expected: expected})
	m.AttemptStarted("acme.bitrix24.com")
	own := gather(t, m)
	for family, labels := range map[string][]string{
		"errors_total":   {"QUERY_LIMIT_EXCEEDED,acme.bitrix24.com,portal", "QUERY_LIMIT_EXCEEDED,acme.bitrix24.com,proxy", "OVERLOAD_LIMIT,acme.bitrix24.com,proxy"},
		"rejected_total": {"acme.bitrix24.com,queue_full", "acme.bitrix24.com,queue_wait"},
		"requests_total": {"ok,acme.bitrix24.com,2xx", "portal_error,acme.bitrix24.com,5xx", "rejected,acme.bitrix24.com,5xx", "unreachable,acme.bitrix24.com,5xx"},

		"queue_abandoned_total": {"acme.bitrix24.com"},
	} {
		want := make(map[string]float64)
		for _, series := range labels {
			want[series] = 0
		}
		if got := values(own[family]); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", family, got, want)
		}
	}
}

// The portals above the bound begin at zero together, and calls that name no
// portal have only what happened to them.
func TestOtherBeginsAtZeroAndNoneDoesNot(t *testing.T) {
	m := New(Options{Portals: 0, Expected: expected})
	m.Rejected("", "portal_not_named")
	m.AttemptStarted("acme.bitrix24.com")
	got := values(gather(t, m)["rejected_total"])
	if want := map[string]float64{"none,portal_not_named": 1, "other,queue_full": 0, "other,queue_wait": 0}; !maps.Equal(got, want) {
		t.Errorf("got rejected_total %v, want %v", got, want)
	}
}

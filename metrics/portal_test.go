package metrics

import (
	"fmt"
	"math"
	"testing"
)

// Gauges have the values of the moment of the scrape. A portal that is no longer
// returned has none.
func TestGaugesAreReadAtScrapeTime(t *testing.T) {
	m := New(Options{Portals: 10})
	var now []Portal
	m.Watch(func() []Portal { return now })

	now = []Portal{{Name: "acme.bitrix24.com", Depth: [3]int{High: 1, Normal: 5, Low: 2}, Level: 49.5, Burst: 50}}
	own := gather(t, m)
	want := map[string]float64{"acme.bitrix24.com,high": 1, "acme.bitrix24.com,normal": 5, "acme.bitrix24.com,low": 2}
	if got := values(own["queue_depth"]); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got queue_depth %v, want %v", got, want)
	}
	if got := values(own["bucket_level"])["acme.bitrix24.com"]; got != 49.5 {
		t.Errorf("got bucket_level %v, want 49.5", got)
	}

	now = nil
	if own := gather(t, m); own["queue_depth"] != nil || own["bucket_level"] != nil {
		t.Errorf("got gauges %v and %v of a portal that is gone, want none", own["queue_depth"], own["bucket_level"])
	}
}

// An unlimited plan has no gauges of a bucket, but all others.
func TestUnlimitedPlanShowsNoBucket(t *testing.T) {
	m := New(Options{Portals: 10})
	inf := math.Inf(1)
	m.Watch(func() []Portal {
		return []Portal{{Name: "box.example.org", Capacity: 1000, Burst: inf, Rate: inf, PlanRate: inf}}
	})
	own := gather(t, m)
	for _, name := range []string{"bucket_level", "bucket_burst", "bucket_rate", "bucket_plan_rate"} {
		if own[name] != nil {
			t.Errorf("%s: got a value for an unlimited plan, want none", name)
		}
	}
	if got := values(own["queue_capacity"])["box.example.org"]; got != 1000 {
		t.Errorf("got queue_capacity %v, want 1000", got)
	}
}

// Portals that share the label "other" show the sum of amounts and the worst of
// ratios and states. An unlimited one among them does not hide the others.
func TestGaugesOfOtherPortals(t *testing.T) {
	m := New(Options{Portals: 0})
	inf := math.Inf(1)
	m.Watch(func() []Portal {
		return []Portal{
			{Name: "box.example.org", Burst: inf, Rate: inf, PlanRate: inf},
			{Name: "a.bitrix24.com", Depth: [3]int{Normal: 3}, Capacity: 1000, Level: 10, Burst: 50, Rate: 2, PlanRate: 2, OperatingRatio: 0.9},
			{Name: "b.bitrix24.com", Depth: [3]int{Normal: 4}, Capacity: 1000, Level: 40, Burst: 250, Rate: 3, PlanRate: 5, BreakerOpen: true},
			{Name: "box2.example.org", Burst: inf, Rate: inf, PlanRate: inf},
		}
	})
	own := gather(t, m)
	for name, want := range map[string]float64{
		"queue_capacity": 2000, "bucket_level": 50, "bucket_burst": 300, "bucket_rate": 5, "bucket_plan_rate": 7,
		"operating_ratio": 0.9, "breaker_open": 1,
	} {
		if got := values(own[name]); len(got) != 1 || got[Other] != want {
			t.Errorf("%s: got %v, want %v for other", name, got, want)
		}
	}
	if got := values(own["queue_depth"])["other,normal"]; got != 7 {
		t.Errorf("got queue_depth %v, want 7", got)
	}
}

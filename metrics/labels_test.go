package metrics

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// The first portals keep their labels. All later ones, a million of them, count as
// "other", and a call without a portal as "none".
func TestPortalsAreBounded(t *testing.T) {
	const portals = 1_000_000
	m := New(Options{Portals: 2})
	m.Abandoned("first.bitrix24.com")
	m.Abandoned("")
	for i := range portals {
		m.Abandoned(fmt.Sprintf("p%d.bitrix24.com", i))
	}
	m.Abandoned("first.bitrix24.com")

	got := values(gather(t, m)["queue_abandoned_total"])
	want := map[string]float64{"first.bitrix24.com": 2, "p0.bitrix24.com": 1, Other: portals - 1, None: 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got the counts %v, want %v", got, want)
	}
	if known := len(m.portals.known); known > 2 {
		t.Errorf("got %d portals in memory, want 2", known)
	}
}

// Every metric with a portal label has the same bound.
func TestEveryPortalLabelIsBounded(t *testing.T) {
	m := New(Options{Portals: 3})
	var watched []Portal
	for i := range 100 {
		portal := fmt.Sprintf("p%d.bitrix24.com", i)
		feed(m, portal, "")
		watched = append(watched, Portal{Name: portal})
	}
	m.Watch(func() []Portal { return watched })
	for name, family := range gather(t, m) {
		portals := make(map[string]bool)
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if pair.GetName() == "portal" {
					portals[pair.GetValue()] = true
				}
			}
		}
		if len(portals) > 4 {
			t.Errorf("%s: got %d portals, want 3 and other", name, len(portals))
		}
	}
}

// Codes and reasons are bounded even if the text of an answer became one.
func TestCodesAndReasonsAreBounded(t *testing.T) {
	m := New(Options{Portals: 1})
	for i := range 1000 {
		word := fmt.Sprintf("word%d", i)
		m.Error("acme.bitrix24.com", word, FromPortal)
		m.Rejected("acme.bitrix24.com", word)
		m.Resend("acme.bitrix24.com", word)
	}
	own := gather(t, m)
	for name, bound := range map[string]int{"errors_total": maxCodes, "rejected_total": maxReasons, "resends_total": maxReasons} {
		if got := len(own[name].GetMetric()); got != bound+1 {
			t.Errorf("%s: got %d series, want %d", name, got, bound+1)
		}
	}
}

// A value that cannot be a label counts as "other" and does not panic.
func TestUnfitValues(t *testing.T) {
	for _, value := range []string{"", "\xff\xfe", strings.Repeat("a", maxName+1)} {
		if got := newNames(10).label(value); got != Other {
			t.Errorf("%q: got the label %q, want %q", value, got, Other)
		}
	}
}

// The longest host name is a label.
func TestLongestName(t *testing.T) {
	name := strings.Repeat("a", maxName)
	if got := newNames(1).label(name); got != name {
		t.Errorf("a name of %d bytes: got the label %q, want the name", len(name), got)
	}
}

// Words outside the contract's vocabularies do not become labels.
func TestFixedVocabularies(t *testing.T) {
	m := New(Options{Portals: 1})
	m.Request("acme.bitrix24.com", "surprise", 200, time.Second, "")
	m.Request("acme.bitrix24.com", OK, 200, time.Second, "")
	m.Request("acme.bitrix24.com", MethodError, 400, time.Second, "")
	m.Error("acme.bitrix24.com", "empty", "nowhere")
	own := gather(t, m)

	for name, want := range map[string]map[string]float64{
		"requests_total": {
			"other,acme.bitrix24.com,2xx":        1,
			"ok,acme.bitrix24.com,2xx":           1,
			"method_error,acme.bitrix24.com,4xx": 1,

			// These begin with the portal.
			"portal_error,acme.bitrix24.com,5xx": 0,
			"rejected,acme.bitrix24.com,5xx":     0,
			"unreachable,acme.bitrix24.com,5xx":  0,
		},
		"errors_total": {"empty,acme.bitrix24.com,other": 1},
	} {
		if got := values(own[name]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A status counts in the class of its first digit, from 600 on as 5xx.
func TestStatusClass(t *testing.T) {
	for status, want := range map[int]string{
		0: None, 101: None, 200: "2xx", 302: "3xx", 429: "4xx", 503: "5xx", 599: "5xx", 600: "5xx", 999: "5xx", -200: None,
	} {
		t.Run(fmt.Sprintf("status %d", status), func(t *testing.T) {
			if got := statusClass(status); got != want {
				t.Errorf("got the class %q, want %q", got, want)
			}
		})
	}
}

// Urgencies below 3 are high, 3 is normal, the others are low.
func TestPriorityOf(t *testing.T) {
	for urgency, want := range map[int]Priority{math.MinInt: High, 0: High, 2: High, 3: Normal, 4: Low, 7: Low, math.MaxInt: Low} {
		t.Run(fmt.Sprintf("urgency %d", urgency), func(t *testing.T) {
			if got := PriorityOf(urgency); got != want {
				t.Errorf("got the priority %s, want %s", got, want)
			}
		})
	}
}

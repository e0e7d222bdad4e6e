package metrics

import (
	"strings"
	"testing"
	"time"
)

const openMetrics = "application/openmetrics-text; version=1.0.0"

// Each duration leads to a request: its id stands beside the bucket.
func TestExemplars(t *testing.T) {
	text := scrape(t, fed(), openMetrics)
	for _, name := range []string{"request_duration_seconds", "queue_wait_seconds", "portal_request_duration_seconds"} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, "b24proxy_"+name+"_bucket") &&
				strings.Contains(line, ` # {request_id="req-1"} `)
		}
		if !found {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

// An id that OpenMetrics does not allow, or that is none, is left out and the
// duration is still counted.
func TestUnfitRequestIDs(t *testing.T) {
	for _, id := range []string{
		"", "\xff", "a b", "näh", "line\nbreak", `quo"te`,
		"https://acme.bitrix24.com/rest/1/PLACEHOLDER/",
		strings.Repeat("a", maxRequestID+1),
	} {
		m := New(Options{Portals: 1})
		m.QueueWait("acme.bitrix24.com", 3, time.Second, id)
		if text := scrape(t, m, openMetrics); strings.Contains(text, "request_id") {
			t.Errorf("id %q became an exemplar", id)
		}
		if got := values(gather(t, m)["queue_wait_seconds"])["acme.bitrix24.com,normal"]; got != 1 {
			t.Errorf("with id %q %v waits were counted, want 1", id, got)
		}
	}
}

// The longest id that is allowed passes, and all characters of usual ids.
func TestFitRequestIDs(t *testing.T) {
	for _, id := range []string{strings.Repeat("a", maxRequestID), "azAZ09-_.:=+"} {
		m := New(Options{Portals: 1})
		m.QueueWait("acme.bitrix24.com", 3, time.Second, id)
		if !strings.Contains(scrape(t, m, openMetrics), id) {
			t.Errorf("id %q gave no exemplar", id)
		}
	}
}

package metrics

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const openMetrics = "application/openmetrics-text; version=1.0.0"

// Each duration leads to a request: the id of the request is beside the bucket.
func TestExemplars(t *testing.T) {
	text := scrape(t, fed(), openMetrics)
	for _, name := range []string{"request_duration_seconds", "queue_wait_seconds", "portal_request_duration_seconds"} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, "b24proxy_"+name+"_bucket") &&
				strings.Contains(line, ` # {request_id="req-1"} `)
		}
		if !found {
			t.Errorf("%s: got no exemplar, want one", name)
		}
	}
}

// An id that OpenMetrics does not allow is left out, and the duration still
// counts.
func TestUnfitRequestIDs(t *testing.T) {
	for _, id := range []string{
		"", "\xff", "a b", "näh", "line\nbreak", `quo"te`,
		"https://acme.bitrix24.com/rest/1/PLACEHOLDER/",
		strings.Repeat("a", maxRequestID+1),
	} {
		m := New(Options{Portals: 1})
		m.QueueWait("acme.bitrix24.com", 3, time.Second, id)
		if text := scrape(t, m, openMetrics); strings.Contains(text, "request_id") {
			t.Errorf("the id %q: got an exemplar, want none", id)
		}
		if got := values(gather(t, m)["queue_wait_seconds"])["acme.bitrix24.com,normal"]; got != 1 {
			t.Errorf("the id %q: got %v waits, want 1", id, got)
		}
	}
}

// The longest id is an exemplar, and so are all characters of usual ids.
func TestFitRequestIDs(t *testing.T) {
	for _, id := range []string{strings.Repeat("a", maxRequestID), "azAZ09-_.:=+"} {
		m := New(Options{Portals: 1})
		m.QueueWait("acme.bitrix24.com", 3, time.Second, id)
		if !strings.Contains(scrape(t, m, openMetrics), id) {
			t.Errorf("the id %q: got no exemplar, want one", id)
		}
	}
}

// Of many quick calls at once some leave exemplars, later ones too, and slow ones always
// do.
func TestExemplarsAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Portals: 1})
		has := func(id string, took time.Duration) bool {
			m.QueueWait("acme.bitrix24.com", 3, took, id)
			return strings.Contains(scrape(t, m, openMetrics), id)
		}
		for i := range sampleSize {
			if id := fmt.Sprintf("early%d", i); !has(id, time.Millisecond) {
				t.Fatalf("got no exemplar for %s, want one", id)
			}
		}
		if has("late", time.Millisecond) || !has("slow", time.Second) {
			t.Error("got an exemplar for a quick call after many, or none for a slow one")
		}
		time.Sleep(sampleTime)
		if !has("next", time.Millisecond) {
			t.Error("got no exemplar for a call after a while, want one")
		}
	})
}

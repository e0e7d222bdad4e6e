package metrics

import (
	"testing"
	"time"
)

// The shared store has metrics where there is one, and not otherwise.
func TestStore(t *testing.T) {
	m := New(Options{Portals: 1})
	for name := range gather(t, m) {
		if name == "store_up" || name == "store_errors_total" || name == "store_request_duration_seconds" {
			t.Errorf("got %s without a store, want none", name)
		}
	}
	isUp := true
	m.WatchStore(func() bool { return isUp })
	m.StoreRequest(time.Millisecond, false)
	m.StoreRequest(50*time.Millisecond, true)
	own := gather(t, m)
	if up, failed := values(own["store_up"])[""], values(own["store_errors_total"])[""]; up != 1 || failed != 1 {
		t.Errorf("got store_up %v and %v errors, want 1 and 1", up, failed)
	}
	if n := own["store_request_duration_seconds"].Metric[0].Histogram.GetSampleCount(); n != 2 {
		t.Errorf("got %d durations, want 2: the failed one too", n)
	}
	isUp = false
	if up := values(gather(t, m)["store_up"])[""]; up != 0 {
		t.Errorf("got store_up %v of a store that is away, want 0", up)
	}
}

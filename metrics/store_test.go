package metrics

import (
	"testing"
	"time"
)

// A store that answers shows no errors, rather than no series, so that an
// alert can see the first one.
func TestStore(t *testing.T) {
	m := New(Options{})
	m.StoreUp(true)
	if got := values(gather(t, m)["store_up"])[""]; got != 1 {
		t.Errorf("store_up is %v while the store answers", got)
	}
	m.StoreRequest(time.Millisecond, false)
	if got, ok := values(gather(t, m)["store_errors_total"])[""]; !ok || got != 0 {
		t.Errorf("store_errors_total is %v (shown: %v), want 0", got, ok)
	}
	m.StoreUp(false)
	m.StoreRequest(time.Second, true)
	own := gather(t, m)
	for name, want := range map[string]float64{"store_up": 0, "store_errors_total": 1, "store_request_duration_seconds": 2} {
		if got := values(own[name])[""]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

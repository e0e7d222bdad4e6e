package metrics

import (
	"testing"
	"time"
)

// Waits are told apart by the rank of their urgency.
func TestQueueWaitByRank(t *testing.T) {
	m := New(Options{Portals: 1})
	for urgency := range 8 {
		m.QueueWait("acme.bitrix24.com", urgency, time.Second, "")
	}
	got := values(gather(t, m)["queue_wait_seconds"])
	for rank, want := range map[string]float64{"high": 3, "normal": 1, "low": 4} {
		if got["acme.bitrix24.com,"+rank] != want {
			t.Errorf("%v waits of rank %s, want %v", got["acme.bitrix24.com,"+rank], rank, want)
		}
	}
}

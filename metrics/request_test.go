package metrics

import (
	"testing"
	"time"
)

// Waits are counted by the priority of their urgency.
func TestQueueWaitByPriority(t *testing.T) {
	m := New(Options{Portals: 1})
	for urgency := range 8 {
		m.QueueWait("acme.bitrix24.com", urgency, time.Second, "")
	}
	got := values(gather(t, m)["queue_wait_seconds"])
	for priority, want := range map[string]float64{"high": 3, "normal": 1, "low": 4} {
		if got := got["acme.bitrix24.com,"+priority]; got != want {
			t.Errorf("priority %s: got %v waits, want %v", priority, got, want)
		}
	}
}

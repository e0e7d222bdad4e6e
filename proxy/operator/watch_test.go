package operator

import (
	"bytes"
	"strings"
	"testing"

	"b24proxy/limiter"
)

// A rate that is lowered, and one that has recovered, is logged once, and the
// status that is sent says nothing in the log.
func TestLoweredRateIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	o := newTestOperator(t, func(c *Config) { c.Log = debugLog(&log) })
	seen := make(changes)
	for _, rate := range []float64{2, 2, 1, 1.5, 2, 2} {
		o.look(seen, &Portal{State: limiter.State{Upstream: acme, Plan: limiter.Standard, Rate: rate}})
	}
	o.status()
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "the rate was lowered") || !strings.Contains(text, "the rate has recovered") {
		t.Error(text)
	}
}

package operator

import (
	"bytes"
	"strings"
	"testing"

	"b24proxy/limiter"
)

// A rate that refusals have lowered, and one that has recovered, is logged once. One
// that is lower because others have the rest is not, and the status that is sent says
// nothing in the log.
func TestLoweredRateIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	o := newTestOperator(t, func(c *Config) { c.Log = debugLog(&log) })
	seen := make(changes)
	for _, s := range []limiter.State{{Rate: 2}, {Rate: 1}, {Rate: 1, Lowered: true}, {Rate: 1.5, Lowered: true}, {Rate: 2}, {Rate: 1}} {
		s.Upstream, s.Plan = acme, limiter.Standard
		o.look(seen, &Portal{State: s})
	}
	o.status()
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "the rate was lowered") || !strings.Contains(text, "the rate has recovered") {
		t.Error(text)
	}
}

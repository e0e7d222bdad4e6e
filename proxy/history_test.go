package proxy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

const acme = "acme.bitrix24.com"

// Each call counts once, as what it was; the cause is the code of the last that
// failed.
func TestHistoryCountsCalls(t *testing.T) {
	for outcome, want := range map[metrics.Outcome]minuteStatus{
		metrics.OK:          {Calls: 1},
		metrics.PortalError: {Calls: 1, Failed: 1},
		metrics.Unreachable: {Calls: 1, Failed: 1},
		metrics.Rejected:    {Calls: 1, Failed: 1},
		metrics.MethodError: {Calls: 1, MethodErrors: 1},
		metrics.Abandoned:   {Calls: 1},
	} {
		h := newHistory(epochAt(0))
		h.note(epochAt(1), CallEnded{Call: Call{Portal: acme}, Outcome: outcome, Code: "ERROR_CORE", Queued: 2 * time.Second})
		s := portalStatus{Portal: acme}
		h.describe(epochAt(2), &s)
		want.LongestWaitSeconds = 2
		if s.LastMinute != want || (s.Cause == "ERROR_CORE") != (want.Failed == 1) {
			t.Errorf("%s: %+v, cause %q", outcome, s.LastMinute, s.Cause)
		}
		if overall, _ := h.overall(epochAt(5)); overall.Calls[seriesSteps-1] != 1 || overall.Failed[seriesSteps-1] != int32(want.Failed) {
			t.Errorf("%s: overall %v calls, %v failed", outcome, overall.Calls, overall.Failed)
		}
	}
}

// An attempt is refused when the portal itself says so, for its rate limit.
func TestHistoryCountsErrors(t *testing.T) {
	for _, c := range []struct {
		code    string
		source  metrics.Source
		refused int32
	}{
		{"QUERY_LIMIT_EXCEEDED", metrics.FromPortal, 2}, {"QUERY_LIMIT_EXCEEDED", metrics.FromProxy, 0}, {"QUERY_LIMIT_EXCEEDED", metrics.FromBatch, 0},
		{"OPERATION_TIME_LIMIT", metrics.FromPortal, 0}, {"ERROR_CORE", metrics.FromPortal, 0},
	} {
		h := newHistory(epochAt(0))
		for range 2 {
			h.note(epochAt(1), ErrorSeen{Call: Call{Portal: acme}, Code: bitrix24.Code(c.code), Source: c.source})
		}
		s := portalStatus{Portal: acme}
		h.describe(epochAt(2), &s)
		if got := int32(s.LastMinute.Refused); got != c.refused || h.all.lastMinute(2*time.Second).refused != c.refused {
			t.Errorf("%s by the %s: %d refused", c.code, c.source, got)
		}
		if len(s.Errors.ByCode) != 1 || s.Errors.ByCode[0].Count != 2 {
			t.Errorf("%s: %+v", c.code, s.Errors.ByCode)
		}
	}
}

// A portal's new name is logged once, and so is another one.
func TestRenamedIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	o := newOperator(&Config{Log: debugLog(&log)}, epochAt(0))
	for _, to := range []string{"one.bitrix24.com", "one.bitrix24.com", "two.bitrix24.com"} {
		o.Record(PortalMoved{Call{Portal: acme}, to})
	}
	if n := strings.Count(log.String(), "the portal was renamed"); n != 2 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

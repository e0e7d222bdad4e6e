package operator

import (
	"fmt"
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
		if s.LastMinute != want || (s.LastFailure == "ERROR_CORE") != (want.Failed == 1) {
			t.Errorf("%s: %+v, cause %q", outcome, s.LastMinute, s.LastFailure)
		}
		if overall, _ := h.overall(epochAt(5)); overall.Calls[seriesSteps-1] != 1 || overall.Failed[seriesSteps-1] != want.Failed {
			t.Errorf("%s: overall %v calls, %v failed", outcome, overall.Calls, overall.Failed)
		}
	}
}

// Reads that were sent together are counted with their batches.
func TestHistoryCountsJoinedReads(t *testing.T) {
	h := newHistory(epochAt(0))
	h.note(epochAt(1), Joined{Call: Call{Portal: acme}, Reads: 17})
	h.note(epochAt(2), Joined{Call: Call{Portal: acme}, Reads: 3})
	s := portalStatus{Portal: acme}
	h.describe(epochAt(3), &s)
	if got := s.LastMinute; got.Joined != 20 || got.Batches != 2 {
		t.Errorf("got %d reads in %d batches, want 20 in 2", got.Joined, got.Batches)
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
		if got := s.LastMinute.Refused; got != c.refused || h.all.lastMinute(2*time.Second).refused != c.refused {
			t.Errorf("%s by the %s: %d refused", c.code, c.source, got)
		}
		if len(s.Errors.ByCode) != 1 || s.Errors.ByCode[0].Count != 2 {
			t.Errorf("%s: %+v", c.code, s.Errors.ByCode)
		}
	}
}

// The errors of a portal are listed by when they came, the newest first,
// whatever the wall clock said then.
func TestCodesInTheirOrder(t *testing.T) {
	h := newHistory(epochAt(0))
	for i, code := range []bitrix24.Code{"INVALID_REQUEST", "expired_token", "ERROR_CORE", "INVALID_REQUEST"} {
		h.note(epochAt(-100*i), ErrorSeen{Call: Call{Portal: acme}, Code: code, Source: metrics.FromPortal})
	}
	s := portalStatus{Portal: "acme.bitrix24.com"}
	h.describe(epochAt(1), &s)
	var got []string
	for _, c := range s.Errors.ByCode {
		got = append(got, c.Code)
	}
	if want := "INVALID_REQUEST ERROR_CORE expired_token"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// What is remembered is bounded, and goes an hour after the last call.
func TestHistoryIsBounded(t *testing.T) {
	h := newHistory(epochAt(0))
	now := epochAt(0)
	for i := range 2000 {
		portal := fmt.Sprintf("p%d.bitrix24.com", i)
		for n := range 40 {
			h.note(now, ErrorSeen{Call: Call{Portal: portal}, Code: bitrix24.Code(fmt.Sprintf("CODE_%d", n)), Source: metrics.FromPortal})
		}
		h.note(now, CallEnded{Call: Call{Portal: portal}, Outcome: metrics.PortalError, Code: "CODE_1"})
	}
	if n := len(h.names()); n != keptPortals {
		t.Errorf("%d portals are remembered", n)
	}
	var s portalStatus
	s.Portal = h.names()[0]
	h.describe(now, &s)
	if len(s.Errors.ByCode) != keptCodes || len(s.Errors.Last) != keptErrors {
		t.Errorf("%d codes and %d errors of a portal", len(s.Errors.ByCode), len(s.Errors.Last))
	}
	h.sample(now.Add(keptFor), nil)
	if n := len(h.names()); n != keptPortals {
		t.Errorf("after an hour %d portals are remembered", n)
	}
	h.sample(now.Add(keptFor+1), nil)
	if n := len(h.names()); n != 0 {
		t.Errorf("an hour later %d portals are remembered", n)
	}
}

// What a portal sends as a code may be anything; operators see what is spelt as
// one.
func TestShownCode(t *testing.T) {
	for code, want := range map[string]string{
		"QUERY_LIMIT_EXCEEDED": "QUERY_LIMIT_EXCEEDED", " error_core ": "other", "ERROR_CORE": "ERROR_CORE", "": "empty", "200040300020": "200040300020",
		"1234567890123": "numeric", "<b>": "other", "aBcD1234efgh5678": "other", "expired_token": "expired_token",
		"A": "A", "Z": "Z", strings.Repeat("A", 64): strings.Repeat("A", 64), strings.Repeat("A", 65): "other", "123456789012": "123456789012",
	} {
		if got := shownCode(bitrix24.Code(code)); got != want {
			t.Errorf("%q is shown as %q, want %q", code, got, want)
		}
	}
}

// The request that stands beside a change is one that the portal refused, not
// one that the proxy rejected later, for the same code.
func TestChangesNameTheRefusedCall(t *testing.T) {
	h := newHistory(epochAt(0))
	for i, source := range []metrics.Source{metrics.FromPortal, metrics.FromProxy, metrics.FromBatch} {
		h.note(epochAt(i), ErrorSeen{Call: Call{Portal: acme, RequestID: string(source)}, Code: "QUERY_LIMIT_EXCEEDED", Source: source})
	}
	if got := h.requestOf("acme.bitrix24.com", bitrix24.CategoryRateLimit); got != "portal" {
		t.Errorf("the request of %q is named", got)
	}
}

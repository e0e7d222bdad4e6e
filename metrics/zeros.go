package metrics

import "net/http"

// Expected names the errors and rejections that rules and dashboards watch. Their
// counters begin at zero with their portal: increase cannot see the event with
// which a series appears, so a burst of first errors would count as none.
type Expected struct {
	Errors  map[Source][]string // codes, by where they arise
	Reasons []string            // of rejections
}

// failures are the outcomes that count as failed at 5xx.
var failures = []Outcome{PortalError, Rejected, Unreachable}

// beginPortal makes the series of a portal that are expected. Its label is new.
func (m *Metrics) beginPortal(portal string) {
	m.requests.WithLabelValues(portal, string(OK), statusClass(http.StatusOK))
	for _, outcome := range failures {
		m.requests.WithLabelValues(portal, string(outcome), statusClass(http.StatusInternalServerError))
	}
	for source, codes := range m.expected.Errors {
		for _, code := range codes {
			m.errors.WithLabelValues(portal, m.codes.label(code), string(source))
		}
	}
	for _, reason := range m.expected.Reasons {
		m.rejected.WithLabelValues(portal, m.reasons.label(reason))
	}
	m.queueAbandoned.WithLabelValues(portal)
	for _, result := range replays {
		m.replays.WithLabelValues(portal, string(result))
	}
}

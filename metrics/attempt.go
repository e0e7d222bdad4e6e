package metrics

import "time"

// AttemptStarted counts an attempt as in flight. The caller must call
// [Metrics.AttemptDone] once for each.
func (m *Metrics) AttemptStarted(portal string) {
	m.portals.of(portal).addInFlight(1)
}

// AttemptDone counts an attempt that has ended, with the portal's status (0 if
// no answer came) and the time since it was sent.
func (m *Metrics) AttemptDone(portal string, status int, took time.Duration, requestID string) {
	m.portals.of(portal).addInFlight(-1)
	m.count(portal, series{attempts, statusClass(status), ""})
	m.observe(portal, attemptDuration, took, requestID)
}

// Resend counts a call that is sent again, by the reason.
func (m *Metrics) Resend(portal, reason string) {
	m.count(portal, series{resends, m.reasons.label(reason), ""})
}

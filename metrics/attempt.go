package metrics

import "time"

// AttemptStarted counts an attempt as in flight. Each must be followed by one
// [Metrics.AttemptDone].
func (m *Metrics) AttemptStarted(portal string) {
	m.inFlight.WithLabelValues(m.portal(portal)).Inc()
}

// AttemptDone counts an attempt that has ended, with the portal's status (0 if
// no answer came) and the time since it was sent.
func (m *Metrics) AttemptDone(portal string, status int, took time.Duration, requestID string) {
	portal = m.portal(portal)
	m.inFlight.WithLabelValues(portal).Dec()
	m.attempts.WithLabelValues(portal, statusClass(status)).Inc()
	observe(m.attemptDuration.WithLabelValues(portal), took, requestID)
}

// Resend counts that a call is sent again, and why.
func (m *Metrics) Resend(portal, reason string) {
	m.resends.WithLabelValues(m.portal(portal), m.reasons.label(reason)).Inc()
}

package metrics

import "time"

// AttemptStarted counts an attempt as in flight. The caller must call
// [Metrics.AttemptDone] once for each.
func (m *Metrics) AttemptStarted(portal string) {
	m.inFlight.WithLabelValues(m.portal(portal)).Inc()
}

// AttemptDone counts an attempt that has ended, with the portal's status (0 if
// no answer came) and the time since it was sent.
func (m *Metrics) AttemptDone(portal string, status int, took time.Duration, requestID string) {
	portal = m.portal(portal)
	m.inFlight.WithLabelValues(portal).Dec()
	m.attempts.WithLabelValues(portal, statusClass(status)).Inc()
	m.observe(m.attemptDuration.WithLabelValues(portal), took, requestID)
}

// Resend counts a call that is sent again, by the reason.
func (m *Metrics) Resend(portal, reason string) {
	m.resends.WithLabelValues(m.portal(portal), m.reasons.label(reason)).Inc()
}

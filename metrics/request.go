package metrics

import "time"

// Request counts a client's call that has ended, with its outcome, the status of
// its answer (0 if there was none) and the time it took, waiting included.
func (m *Metrics) Request(portal string, outcome Outcome, status int, took time.Duration, requestID string) {
	m.count(portal, series{requests, outcome.label(), statusClass(status)})
	m.observe(portal, requestDuration, took, requestID)
}

// Error counts an error that the proxy found in an answer or made itself. An
// attempt that is refused and sent again counts too: errors count what portals
// answer, requests what clients get. code is a system code in its own spelling,
// or a word for all others, never a text of an answer.
func (m *Metrics) Error(portal, code string, from Source) {
	m.count(portal, series{errorsSeen, m.codes.label(code), from.label()})
}

// Rejected counts a call that the proxy answered itself. One that the portal
// refused for its limit, and that could not be sent again within its wait,
// counts here too, as queue_wait. A call for a host that is not allowed counts
// without a portal, else anybody could use up the labels.
func (m *Metrics) Rejected(portal, reason string) {
	m.count(portal, series{rejected, m.reasons.label(reason), ""})
}

// QueueWait records how long a call of this urgency (0 to 7) waited before it
// got a slot; 0 if a slot was free.
func (m *Metrics) QueueWait(portal string, urgency int, waited time.Duration, requestID string) {
	m.observe(portal, queueWait+histogramID(PriorityOf(urgency)), waited, requestID)
}

// Abandoned counts a call whose client hung up while it waited for a slot.
func (m *Metrics) Abandoned(portal string) {
	m.count(portal, series{desc: queueAbandoned})
}

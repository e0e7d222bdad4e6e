package metrics

// ClientRequest counts a call that has ended, if it is from one of the clients that
// have a key. Other names come from the callers themselves, and do not become labels.
func (m *Metrics) ClientRequest(client string, outcome Outcome) {
	if m.clients[client] {
		m.clientRequests.WithLabelValues(client, outcome.label()).Inc()
	}
}

// beginClient makes the series of a client, at zero.
func (m *Metrics) beginClient(name string) {
	m.clients[name] = true
	for _, outcome := range append([]Outcome{OK}, failures...) {
		m.clientRequests.WithLabelValues(name, string(outcome))
	}
}

package metrics

// sizeBuckets are the sizes of batches.
var sizeBuckets = []float64{2, 5, 10, 20, 30, 40, 50}

func (m *Metrics) makeBatches() {
	m.batchCalls = counter("autobatch_calls_total",
		"Reads that were sent in a batch with others.",
		"portal")
	m.batches = counter("autobatch_batches_total",
		"Batches in which the proxy sent reads that waited.",
		"portal")
	m.fallbacks = counter("autobatch_fallbacks_total",
		"Reads that were sent alone although reads are joined, by the reason.",
		"portal", "reason")
	m.batchSize = histogram("autobatch_size",
		"Reads in a batch.",
		sizeBuckets, "portal")
}

// Batch counts a batch that carries so many reads.
func (m *Metrics) Batch(portal string, reads int) {
	portal = m.portal(portal)
	m.batches.WithLabelValues(portal).Inc()
	m.batchCalls.WithLabelValues(portal).Add(float64(reads))
	m.batchSize.WithLabelValues(portal).Observe(float64(reads))
}

// Fallback counts a read that is sent alone although reads are joined, by the reason.
func (m *Metrics) Fallback(portal, reason string) {
	m.fallbacks.WithLabelValues(m.portal(portal), m.reasons.label(reason)).Inc()
}

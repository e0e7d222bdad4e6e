package metrics

// sizeBuckets are the sizes of batches.
var sizeBuckets = []float64{2, 5, 10, 20, 30, 40, 50}

// Batch counts a batch that carries so many reads.
func (m *Metrics) Batch(portal string, reads int) {
	t := m.portals.of(portal)
	t.add(series{desc: batches}, 1, m.expected)
	t.add(series{desc: batchCalls}, reads, m.expected)
	t.observe(batchSize, float64(reads), "")
}

// Fallback counts a read that is sent alone although reads are joined, by the reason.
func (m *Metrics) Fallback(portal, reason string) {
	m.count(portal, series{fallbacks, m.reasons.label(reason), ""})
}

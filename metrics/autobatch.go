package metrics

import "github.com/prometheus/client_golang/prometheus"

// autobatchMetrics are of the calls that travel together in one batch.
type autobatchMetrics struct {
	calls, batches, fallbacks *prometheus.CounterVec
	size                      *prometheus.HistogramVec
}

func newAutobatchMetrics() autobatchMetrics {
	return autobatchMetrics{
		calls: counter("autobatch_calls_total",
			"Calls that travelled in a batch made by the proxy.", "portal"),
		batches: counter("autobatch_batches_total",
			"Batches made by the proxy.", "portal"),
		fallbacks: counter("autobatch_fallbacks_total",
			"Batches made by the proxy whose calls had to be sent one by one after all.", "portal"),
		// A batch holds at most 50 commands (documented).
		size: histogram("autobatch_size",
			"Calls in a batch made by the proxy.", []float64{2, 5, 10, 20, 30, 40, 50}, "portal"),
	}
}

// Autobatch counts a batch of so many calls (2 to 50).
func (m *Metrics) Autobatch(portal string, calls int) {
	portal = m.portal(portal)
	m.autobatch.calls.WithLabelValues(portal).Add(float64(calls))
	m.autobatch.batches.WithLabelValues(portal).Inc()
	m.autobatch.size.WithLabelValues(portal).Observe(float64(calls))
}

// AutobatchFallback counts a batch whose calls had to be sent one by one.
func (m *Metrics) AutobatchFallback(portal string) {
	m.autobatch.fallbacks.WithLabelValues(m.portal(portal)).Inc()
}

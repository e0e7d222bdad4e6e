package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storeMetrics are of the store that replicas share. They have no labels, yet
// are vectors so that they show nothing where there is no store.
type storeMetrics struct {
	up       *prometheus.GaugeVec
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
}

var storeBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

func newStoreMetrics() storeMetrics {
	return storeMetrics{
		up: gauge("store_up",
			"1 while the shared store answers; at 0 each replica keeps to its share of the limit."),
		duration: histogram("store_request_duration_seconds",
			"Time of a request to the shared store.", storeBuckets),
		errors: counter("store_errors_total",
			"Requests to the shared store that failed."),
	}
}

// StoreUp tells whether the shared store is in use or given up for now.
func (m *Metrics) StoreUp(up bool) {
	value := 0.0
	if up {
		value = 1
	}
	m.store.up.WithLabelValues().Set(value)
}

// StoreRequest records a request to the shared store and whether it failed.
func (m *Metrics) StoreRequest(took time.Duration, failed bool) {
	m.store.duration.WithLabelValues().Observe(took.Seconds())
	errors := m.store.errors.WithLabelValues() // shown from the first request on
	if failed {
		errors.Inc()
	}
}

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storeBuckets suit a store in the same network, which is given up after 50 ms.
var storeBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1}

// makeStore makes the collectors of the shared store.
func (m *Metrics) makeStore() {
	m.storeDuration = prometheus.NewHistogram(histogramOpts("store_request_duration_seconds",
		"Time that requests to the shared store took, the failed ones included.", storeBuckets))
	m.storeErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "store_errors_total", Help: "Requests to the shared store that failed or took too long.",
	})
}

// WatchStore shows the shared store from now on. It reads at each scrape whether the
// store is there; the function must be quick and safe to call at any time.
func (m *Metrics) WatchStore(isUp func() bool) {
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "store_up", Help: "1 while the shared store can be reached, else 0.",
	}, func() float64 {
		if isUp() {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(up, m.storeDuration, m.storeErrors)
}

// StoreRequest counts a request to the shared store.
func (m *Metrics) StoreRequest(took time.Duration, failed bool) {
	m.storeDuration.Observe(took.Seconds())
	if failed {
		m.storeErrors.Inc()
	}
}

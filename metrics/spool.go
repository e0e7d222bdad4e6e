package metrics

import "github.com/prometheus/client_golang/prometheus"

// WatchSpool reads the gauges of the requests that the proxy holds from the given
// function at each scrape. The function must be quick and safe to call at any
// time.
func (m *Metrics) WatchSpool(held func() (memory, disk int64)) { m.spool.Store(&held) }

var (
	memoryBytes = desc("memory_bytes", "Bytes of request bodies and headers held in memory.")
	spoolBytes  = desc("spool_bytes", "Bytes of request bodies held on disk.")
)

// spoolGauges makes the gauges of held requests at each scrape.
type spoolGauges struct{ *Metrics }

func (spoolGauges) Describe(to chan<- *prometheus.Desc) {
	to <- memoryBytes
	to <- spoolBytes
}

func (g spoolGauges) Collect(to chan<- prometheus.Metric) {
	held := g.spool.Load()
	if held == nil {
		return
	}
	memory, disk := (*held)()
	to <- prometheus.MustNewConstMetric(memoryBytes, prometheus.GaugeValue, float64(memory))
	to <- prometheus.MustNewConstMetric(spoolBytes, prometheus.GaugeValue, float64(disk))
}

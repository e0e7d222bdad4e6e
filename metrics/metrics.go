// Package metrics holds every Prometheus collector of the proxy.
//
// All names begin with b24proxy_, and durations are in seconds. Every label is
// bounded: a portal, a code or a reason above the bound counts as "other", and so
// does a word outside a fixed vocabulary. A label is a host, a code or a word of
// the proxy, never a path, a query or a credential.
//
// A series appears when it first has something to show, so a feature that is
// switched off shows nothing. Counters of the usual errors appear with their
// portal, at zero.
package metrics

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "b24proxy"

// Options say what is fixed for the life of the process.
type Options struct {
	Portals           int      // portals with a label of their own, the first that come
	Clients           []string // names that client_requests_total has
	Version, Revision string   // of the program
	Expected          Expected
}

// Metrics counts what the proxy does. Its methods may be called at the same
// time from many goroutines.
type Metrics struct {
	registry *prometheus.Registry

	portals        *tallies
	codes, reasons *names
	clients        map[string]bool
	expected       []series
	exemplars      sampler
	watched        atomic.Pointer[func() []Portal]
	spool          atomic.Pointer[func() (memory, disk int64)]

	clientRequests *prometheus.CounterVec

	storeDuration prometheus.Histogram
	storeErrors   prometheus.Counter
}

// New makes and registers the collectors, also those of the Go runtime and of
// the process.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),

		portals: &tallies{max: o.Portals, known: make(map[string]*tally)},
		codes:   newNames(maxCodes),
		reasons: newNames(maxReasons),
		clients: make(map[string]bool),

		clientRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "client_requests_total", Help: "Calls that ended, by the client whose key they carried.",
		}, []string{"client", "outcome"}),
	}
	m.expected = m.expectedSeries(o.Expected)
	m.makeStore()
	for _, name := range o.Clients {
		m.beginClient(name)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o),
		m.clientRequests,
		portalSeries{m}, portalGauges{m}, spoolGauges{m},
	)
	return m
}

// Handler serves the metrics as text, OpenMetrics (with exemplars) or protobuf
// (with native histograms), whichever the scraper asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func buildInfo(o Options) prometheus.Collector {
	info := gauge("build_info", "Always 1; the labels name the build.", "version", "revision", "goversion")
	info.WithLabelValues(o.Version, o.Revision, runtime.Version()).Set(1)
	return info
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// Upper bounds in seconds. By default a call may last 60 s at the portal
// (proxy/bitrix24/README.md#rate-limit), the proxy waits 65 s for an answer, and a call waits at most 60 s
// for a slot. Clients give up after 10, 15, 20, 25, 30, 45 or 60 s.
var (
	durationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60, 65, 95, 130}
	waitBuckets     = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60}
)

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace:                      namespace,
		Name:                           name,
		Help:                           help,
		Buckets:                        buckets,
		NativeHistogramBucketFactor:    nativeFactor,
		NativeHistogramZeroThreshold:   zeroThreshold,
		NativeHistogramMaxBucketNumber: nativeBuckets,
	}
}

// count counts one in a series of a portal.
func (m *Metrics) count(portal string, s series) { m.portals.of(portal).add(s, 1, m.expected) }

// observe records a duration, with the request as its exemplar.
func (m *Metrics) observe(portal string, of histogramID, took time.Duration, requestID string) {
	if !isExemplar(requestID) || took < slow && !m.exemplars.next(time.Now()) {
		requestID = ""
	}
	m.portals.of(portal).observe(of, took.Seconds(), requestID)
}

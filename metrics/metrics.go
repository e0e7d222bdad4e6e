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

	portals, codes, reasons *names
	clients                 map[string]bool
	expected                Expected
	exemplars               sampler
	watched                 atomic.Pointer[func() []Portal]
	spool                   atomic.Pointer[func() (memory, disk int64)]

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	errors          *prometheus.CounterVec
	rejected        *prometheus.CounterVec
	clientRequests  *prometheus.CounterVec

	queueWait      *prometheus.HistogramVec
	queueAbandoned *prometheus.CounterVec

	attempts        *prometheus.CounterVec
	attemptDuration *prometheus.HistogramVec
	inFlight        *prometheus.GaugeVec
	resends         *prometheus.CounterVec
	replays         *prometheus.CounterVec

	batchCalls *prometheus.CounterVec
	batches    *prometheus.CounterVec
	fallbacks  *prometheus.CounterVec
	batchSize  *prometheus.HistogramVec

	storeDuration prometheus.Histogram
	storeErrors   prometheus.Counter
}

// New makes and registers the collectors, also those of the Go runtime and of
// the process.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),

		codes:    newNames(maxCodes),
		reasons:  newNames(maxReasons),
		clients:  make(map[string]bool),
		expected: o.Expected,

		requests: counter("requests_total",
			"Calls of clients that ended, by how they ended and by the status class of the answer.",
			"portal", "outcome", "status_class"),
		requestDuration: histogram("request_duration_seconds",
			"Time from a client's call to the end of its answer, the wait for a slot included.",
			durationBuckets, "portal"),
		errors: counter("errors_total",
			"Errors by code and by where they arose: in an answer of the portal, inside a batch, on the network or in the proxy.",
			"portal", "code", "source"),
		rejected: counter("rejected_total",
			"Calls that the proxy answered itself instead of sending them.",
			"portal", "reason"),
		clientRequests: counter("client_requests_total",
			"Calls that ended, by the client whose key they carried.",
			"client", "outcome"),

		queueWait: histogram("queue_wait_seconds",
			"Time that calls waited for a slot.",
			waitBuckets, "portal", "priority"),
		queueAbandoned: counter("queue_abandoned_total",
			"Calls whose client hung up while they waited for a slot.",
			"portal"),

		attempts: counter("portal_requests_total",
			"Attempts sent to a portal; a call that is sent again counts each time.",
			"portal", "status_class"),
		attemptDuration: histogram("portal_request_duration_seconds",
			"Time from sending an attempt to the end of the portal's answer.",
			durationBuckets, "portal"),
		inFlight: gauge("portal_in_flight_requests",
			"Attempts sent to a portal whose answer has not ended.",
			"portal"),
		resends: counter("resends_total",
			"Attempts after the first of a call, by the reason for sending it again.",
			"portal", "reason"),
		replays: counter("replays_total",
			"Writes that a client repeated, by what was done instead of running them twice; evicted: what was remembered of one had to go before its time.",
			"portal", "result"),
	}
	m.makeBatches()
	m.makeStore()
	m.portals = newNames(o.Portals)
	m.portals.begin = m.beginPortal
	for _, name := range o.Clients {
		m.beginClient(name)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o),
		m.requests, m.requestDuration, m.errors, m.rejected, m.clientRequests,
		m.queueWait, m.queueAbandoned,
		m.attempts, m.attemptDuration, m.inFlight, m.resends, m.replays,
		m.batchCalls, m.batches, m.fallbacks, m.batchSize,
		portalGauges{m}, spoolGauges{m},
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

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
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

// histogram has the given classic buckets and, beside them, native ones that
// grow by at most 10 %. From the zero threshold, a millisecond, to 65 s there
// are fewer than 140 of them, so usual durations never reach their bound.
func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels)
}

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace:                      namespace,
		Name:                           name,
		Help:                           help,
		Buckets:                        buckets,
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramZeroThreshold:   1.0 / 1024,
		NativeHistogramMaxBucketNumber: 160,
	}
}

// observe records a duration, with the request as its exemplar.
func (m *Metrics) observe(o prometheus.Observer, took time.Duration, requestID string) {
	if took < slow && !m.exemplars.next(time.Now()) {
		o.Observe(took.Seconds())
		return
	}
	o.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), exemplar(requestID))
}

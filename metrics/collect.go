package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The series of portals.
var (
	requests = desc("requests_total",
		"Calls of clients that ended, by how they ended and by the status class of the answer.",
		"portal", "outcome", "status_class")
	errorsSeen = desc("errors_total",
		"Errors by code and by where they arose: in an answer of the portal, inside a batch, on the network or in the proxy.",
		"portal", "code", "source")
	rejected = desc("rejected_total",
		"Calls that the proxy answered itself instead of sending them.",
		"portal", "reason")
	queueAbandoned = desc("queue_abandoned_total",
		"Calls whose client hung up while they waited for a slot.",
		"portal")
	attempts = desc("portal_requests_total",
		"Attempts sent to a portal; a call that is sent again counts each time.",
		"portal", "status_class")
	inFlight = desc("portal_in_flight_requests",
		"Attempts sent to a portal whose answer has not ended.",
		"portal")
	resends = desc("resends_total",
		"Attempts after the first of a call, by the reason for sending it again.",
		"portal", "reason")
	replays = desc("replays_total",
		"Writes that a client repeated, by what was done instead of running them twice; evicted: what was remembered of one had to go before its time.",
		"portal", "result")
	batchCalls = desc("autobatch_calls_total",
		"Reads that were sent in a batch with others.",
		"portal")
	batches = desc("autobatch_batches_total",
		"Batches in which the proxy sent reads that waited.",
		"portal")
	fallbacks = desc("autobatch_fallbacks_total",
		"Reads that were sent alone although reads are joined, by the reason.",
		"portal", "reason")
)

// A shape is what a histogram of each portal looks like.
type shape struct {
	desc     *prometheus.Desc
	bounds   []float64
	priority string // "": it has no such label
}

var queueWaits = desc("queue_wait_seconds", "Time that calls waited for a slot.", "portal", "priority")

var shapes = [histograms]shape{
	requestDuration: {desc: desc("request_duration_seconds",
		"Time from a client's call to the end of its answer, the wait for a slot included.", "portal"), bounds: durationBuckets},
	attemptDuration: {desc: desc("portal_request_duration_seconds",
		"Time from sending an attempt to the end of the portal's answer.", "portal"), bounds: durationBuckets},
	batchSize:                       {desc: desc("autobatch_size", "Reads in a batch.", "portal"), bounds: sizeBuckets},
	queueWait + histogramID(High):   {queueWaits, waitBuckets, High.String()},
	queueWait + histogramID(Normal): {queueWaits, waitBuckets, Normal.String()},
	queueWait + histogramID(Low):    {queueWaits, waitBuckets, Low.String()},
}

// portalSeries makes the series of portals at each scrape.
type portalSeries struct{ *Metrics }

func (portalSeries) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requests, errorsSeen, rejected, queueAbandoned, attempts, inFlight, resends, replays, batchCalls, batches, fallbacks,
	} {
		to <- d
	}
	for _, s := range shapes[:queueWait+1] {
		to <- s.desc
	}
}

func (p portalSeries) Collect(to chan<- prometheus.Metric) {
	for _, t := range p.portals.all() {
		for _, m := range t.collect(p.expected) {
			to <- m
		}
	}
}

// collect shows what was counted, and the expected series at zero.
func (t *tally) collect(expected []series) []prometheus.Metric {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []prometheus.Metric
	for _, c := range t.counters {
		all = append(all, t.counter(c))
	}
	if t.starts {
		for _, s := range expected {
			if t.findLocked(s) == nil {
				all = append(all, t.counter(counter{s, 0, t.began}))
			}
		}
	}
	if t.attempted {
		all = append(all, prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(t.inFlight), t.label))
	}
	for id, h := range t.histograms {
		if h != nil {
			s := &shapes[id]
			all = append(all, h.metric(s, t.labels(s.priority)...))
		}
	}
	return all
}

func (t *tally) counter(c counter) prometheus.Metric {
	return prometheus.MustNewConstMetricWithCreatedTimestamp(c.desc, prometheus.CounterValue, float64(c.n), time.Unix(0, c.began),
		t.labels(c.first, c.second)...)
}

// labels are the portal's label and the others of a series.
func (t *tally) labels(others ...string) []string {
	all := []string{t.label}
	for _, label := range others {
		if label != "" {
			all = append(all, label)
		}
	}
	return all
}

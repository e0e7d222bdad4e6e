package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

// Portal is what the limiter knows of a portal at one moment.
type Portal struct {
	Name     string
	Depth    [3]int // calls waiting, by Priority
	Capacity int    // calls that may wait

	// Level is the number of calls that the portal still counts, from 0 to
	// Burst; calls wait a margin below Burst. Rate is how many calls drain per
	// second now, PlanRate what the plan allows. An unlimited plan has +Inf in
	// Burst and Rate and shows no bucket. Values that are not finite are left
	// out.
	Level, Burst, Rate, PlanRate float64

	OperatingRatio float64 // of the method nearest to its operating limit; 1 is the limit
	BreakerOpen    bool    // an overload block is in force
}

// Watch reads the gauges of portals from the given function at each scrape. The
// function must be quick and safe to call at any time. A portal that it no longer
// returns has no gauges.
func (m *Metrics) Watch(portals func() []Portal) {
	m.watched.Store(&portals)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	queueDepth     = desc("queue_depth", "Calls waiting for a slot.", "portal", "priority")
	queueCapacity  = desc("queue_capacity", "Calls that may wait for a slot.", "portal")
	bucketLevel    = desc("bucket_level", "Calls that the portal still counts. Calls wait at a margin below bucket_burst, since the portal shows neither its counter nor its tick.", "portal")
	bucketBurst    = desc("bucket_burst", "Calls that the portal accepts at once.", "portal")
	bucketRate     = desc("bucket_rate", "Calls per second that the proxy sends at most; below the plan's while another program uses the same limit.", "portal")
	bucketPlanRate = desc("bucket_plan_rate", "Calls per second that the portal's plan allows.", "portal")
	operatingRatio = desc("operating_ratio", "Share of its operating time that the most expensive method has used.", "portal")
	breakerOpen    = desc("breaker_open", "1 while the portal blocks the REST API for overload, else 0.", "portal")
)

// portalGauges makes the gauges of portals at each scrape.
type portalGauges struct{ *Metrics }

func (portalGauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		queueDepth, queueCapacity,
		bucketLevel, bucketBurst, bucketRate, bucketPlanRate,
		operatingRatio, breakerOpen,
	} {
		to <- d
	}
}

func (g portalGauges) Collect(to chan<- prometheus.Metric) {
	watched := g.watched.Load()
	if watched == nil {
		return
	}
	byLabel := make(map[string]Portal)
	for _, p := range (*watched)() {
		p.Name = g.portals.of(p.Name).label
		if sum, ok := byLabel[p.Name]; ok {
			p = together(sum, p)
		}
		byLabel[p.Name] = p
	}
	for _, p := range byLabel {
		p.collect(to)
	}
}

// together joins portals that share a label: it adds amounts and takes the worst
// of ratios and states. A portal without a limit adds nothing to the bucket.
func together(a, b Portal) Portal {
	for priority := range a.Depth {
		a.Depth[priority] += b.Depth[priority]
	}
	a.Capacity += b.Capacity
	switch {
	case !a.limited():
		a.Level, a.Burst, a.Rate, a.PlanRate = b.Level, b.Burst, b.Rate, b.PlanRate
	case b.limited():
		a.Level += b.Level
		a.Burst += b.Burst
		a.Rate += b.Rate
		a.PlanRate += b.PlanRate
	}
	a.OperatingRatio = max(a.OperatingRatio, b.OperatingRatio)
	a.BreakerOpen = a.BreakerOpen || b.BreakerOpen
	return a
}

// limited reports whether the portal has a bucket to show.
func (p Portal) limited() bool { return finite(p.Burst) }

func finite(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }

func (p Portal) collect(to chan<- prometheus.Metric) {
	show := func(d *prometheus.Desc, v float64, labels ...string) {
		if finite(v) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.Name}, labels...)...)
		}
	}
	for priority, name := range priorities {
		show(queueDepth, float64(p.Depth[priority]), name)
	}
	show(queueCapacity, float64(p.Capacity))
	if p.limited() {
		show(bucketLevel, p.Level)
		show(bucketBurst, p.Burst)
		show(bucketRate, p.Rate)
		show(bucketPlanRate, p.PlanRate)
	}
	show(operatingRatio, p.OperatingRatio)
	open := 0.0
	if p.BreakerOpen {
		open = 1
	}
	show(breakerOpen, open)
}

// Package operator is what operators see of the proxy: metrics, the log, the
// status page with its JSON, and health.
//
// The flow of calls records here what happens, as events, and gives two
// functions that say what it holds now. This package knows no more of it.
package operator

import (
	"log/slog"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/metrics"
)

// Config is fixed for the life of the process.
type Config struct {
	Version, Revision string
	Mode              string // enforce or observe
	Store             string // memory, or file: bucket levels survive a restart
	AdminHost         string // a name under which the listener may be asked; may be empty
	PProf             bool   // profiles are served
	MetricsPortals    int    // portals with labels of their own
	Log               *slog.Logger
	LogAllCalls       bool // a line at info for every call, not only for failed ones

	// What the proxy holds now. Both must be quick and safe to call at any time.
	Snapshot func() Snapshot
	Portals  func(now time.Time, names []string) []Portal // those in use, and those named
}

// A Snapshot is what the proxy holds at one moment, whatever the portal.
type Snapshot struct {
	Listen                 string // where clients connect; "" before they can
	IsDraining             bool
	MemoryBytes, DiskBytes int64 // of request bodies
}

// A Portal is what the proxy holds of one portal at one moment.
type Portal struct {
	limiter.State
	IsAtRest bool              // nothing waits, and the portal counts no calls
	Clients  map[string]int    // waiting calls, by client
	Budgets  []operating.State // of operating time, the fullest first; not all where there are many
}

// An Operator is what operators see: it has the events of the flow counted,
// remembered and logged, and shows what came of them.
type Operator struct {
	config  Config
	began   time.Time
	metrics *metrics.Metrics
	history *history
	log     eventLog
	viewers viewers
}

// New begins with nothing recorded.
func New(c Config) *Operator {
	began := time.Now()
	o := &Operator{
		config:  c,
		began:   began,
		metrics: metrics.New(metrics.Options{Portals: c.MetricsPortals, Version: c.Version, Revision: c.Revision}),
		history: newHistory(began),
		log:     eventLog{c.Log, c.LogAllCalls},
	}
	o.metrics.Watch(o.gauges)
	o.metrics.WatchSpool(func() (memory, disk int64) {
		s := c.Snapshot()
		return s.MemoryBytes, s.DiskBytes
	})
	return o
}

// Record takes an event down, at the time of now.
func (o *Operator) Record(e Event) {
	counts{o.metrics}.note(e)
	o.log.note(e)
	if news := o.history.note(time.Now(), e); news != nil {
		o.log.note(news)
	}
}

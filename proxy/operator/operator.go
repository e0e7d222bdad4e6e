// Package operator is what operators see of the proxy: metrics, the log, the
// status page with its JSON, and health.
//
// The flow of calls records here what happens, as events, and gives two
// functions that say what it holds now. This package knows nothing else of it.
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
	Mode              Mode
	Store             Store
	AdminHost         string   // a name under which the listener may be asked; may be empty
	PProf             bool     // profiles are served
	MetricsPortals    int      // portals with labels of their own
	Clients           []string // that have a key, by name
	Expected          metrics.Expected
	Log               *slog.Logger
	LogAllCalls       bool // a line at info for every call, not only for failed ones

	// What the proxy holds now. Both must be quick, and safe for concurrent use.
	Snapshot func() Snapshot
	Portals  func(now time.Time, names []string) []Portal // those in use, and those named
}

// A Mode says whether limits are enforced.
type Mode string

const (
	Enforce Mode = "enforce"
	Observe Mode = "observe"
)

// A Store is where the levels of buckets are kept.
type Store string

const (
	InMemory Store = "memory"
	InFile   Store = "file" // they survive a restart
)

// A Snapshot is what the proxy holds at one moment, for all portals together.
type Snapshot struct {
	Listen                 string // where clients connect; "" before they can
	IsDraining             bool
	MemoryBytes, DiskBytes int64 // of request bodies
}

// A Portal is what the proxy holds of one portal at one moment.
type Portal struct {
	limiter.State
	IsAtRest bool              // nothing waits, and the portal counts no calls
	Clients  map[string]int    // the calls that wait, by client
	Budgets  []operating.State // of operating time, the fullest first; the emptiest may be left out
}

// An Operator is the operators' side of the proxy. It counts, remembers and logs
// the events of the flow, and shows the result.
type Operator struct {
	config  Config
	began   time.Time
	metrics *metrics.Metrics
	history *history
	log     eventLog
	viewers viewers
}

// New makes an Operator that has recorded nothing.
func New(c Config) *Operator {
	began := time.Now()
	o := &Operator{
		config:  c,
		began:   began,
		metrics: metrics.New(metrics.Options{Portals: c.MetricsPortals, Clients: c.Clients, Version: c.Version, Revision: c.Revision, Expected: c.Expected}),
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

// Record counts, logs and remembers an event as one of this moment.
func (o *Operator) Record(e Event) {
	counts{o.metrics}.note(e)
	o.log.note(e)
	if news := o.history.note(time.Now(), e); news != nil {
		o.log.note(news)
	}
}

// Package operator is what operators see of the proxy: metrics, the log, the
// status page with its JSON, and health.
//
// The flow of calls records here what happens, as events, and gives two
// functions that say what it holds now. This package knows nothing else of it.
package operator

import (
	"time"

	"b24proxy/metrics"
)

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
	o.metrics.Watch(func() []metrics.Portal { return gaugesOf(c.Portals(time.Now(), nil)) })
	o.metrics.WatchSpool(func() (memory, disk int64) {
		s := c.Snapshot()
		return s.MemoryBytes, s.DiskBytes
	})
	if c.Shared != nil {
		o.metrics.WatchStore(func() bool { return c.Shared().Up })
	}
	return o
}

// StoreRequest counts a request to the shared store.
func (o *Operator) StoreRequest(took time.Duration, failed bool) {
	o.metrics.StoreRequest(took, failed)
}

// Record counts, logs and remembers an event as one of this moment.
func (o *Operator) Record(e Event) {
	counts{o.metrics}.note(e)
	o.log.note(e)
	if news := o.history.note(time.Now(), e); news != nil {
		o.log.note(news)
	}
}

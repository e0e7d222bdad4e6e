package proxy

import (
	"time"

	"b24proxy/metrics"
)

// An operator has the events counted, remembered and logged.
type operator struct {
	metrics *metrics.Metrics
	history *history
	log     eventLog
}

func newOperator(c *Config, began time.Time) *operator {
	return &operator{
		metrics: metrics.New(metrics.Options{Portals: c.MetricsPortals, Version: c.Version, Revision: c.Revision}),
		history: newHistory(began),
		log:     eventLog{c.Log, c.LogAllCalls},
	}
}

// Record takes an event down, at the time of now.
func (o *operator) Record(e Event) {
	counts{o.metrics}.note(e)
	o.log.note(e)
	if news := o.history.note(time.Now(), e); news != nil {
		o.log.note(news)
	}
}

package limiter

import (
	"sync/atomic"
	"time"
)

// A Persister keeps the state of each upstream's bucket over a restart, as one
// instant: when the bucket will be full again. Package statefile has one.
type Persister interface {
	// Load returns the latest instant that was saved for an upstream, if there
	// is one. It may be long ago, or, if the clock was set back, further off than
	// any bucket takes.
	Load(upstream string) (fullAt time.Time, found bool)

	// Save keeps an instant, at the rate of the upstream's plan.
	Save(upstream string, fullAt time.Time, rate float64) error
}

// persistence loads and saves buckets where there is a Persister.
type persistence struct {
	persister Persister // nil: none
	warn      func(msg string, args ...any)
	failing   atomic.Bool // the last save failed; a series of failures is logged once
}

func (p *persistence) load(upstream string) (fullAt time.Time) {
	if p.persister != nil {
		fullAt, _ = p.persister.Load(upstream)
	}
	return fullAt
}

func (p *persistence) save(upstream string, s *Slot) {
	if p.persister == nil || s.bucket == nil {
		return
	}
	err := p.persister.Save(upstream, s.fullAt, s.rate)
	if failed := err != nil; !p.failing.Swap(failed) && failed {
		p.warn("the state file cannot be written; a restart will not know of the calls sent", "error", err)
	}
}

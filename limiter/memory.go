package limiter

import (
	"sync/atomic"
	"time"
)

// A memory keeps each bucket's state over the end of the process, where there
// is a file for it.
type memory struct {
	file   *StateFile // nil: none
	warn   func(msg string, args ...any)
	failed atomic.Bool // the last save; a row of failures is told of once
}

func (m *memory) load(upstream string) (fullAt time.Time) {
	if m.file != nil {
		fullAt, _ = m.file.Load(upstream)
	}
	return fullAt
}

func (m *memory) save(upstream string, s *Slot) {
	if m.file == nil || s.bucket == nil {
		return
	}
	err := m.file.Save(upstream, s.fullAt, s.bucket.plan.Rate)
	if failed := err != nil; !m.failed.Swap(failed) && failed {
		m.warn("the state file is not written; a restart will not know of the calls sent", "error", err)
	}
}

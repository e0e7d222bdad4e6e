package joining

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Weights of failures: a read that fails weighs as much as so many that do not. So a method
// is sent alone before long if more than one of its reads in eleven fails. A credential
// whose reads fail in one method loses only that one.
const (
	OfMethod     = 10
	OfCredential = 2
	OfBatch      = 25 // a batch that failed as a whole, for its credential
)

const (
	// tooMany is the weight at which reads are sent alone.
	tooMany = 100
	// pause is for how long.
	pause = 5 * time.Minute

	keptMisfits = 20_000
)

// Misfits are the methods and the credentials whose reads often fail within a batch, so
// that they are sent alone for a while: a read that fails there needs a slot of its own
// afterwards. What succeeds takes no memory.
type Misfits struct {
	records *simplelru.LRU[string, record]
}

type record struct {
	weight int       // of the failures
	until  time.Time // reads are sent alone until then
}

// NewMisfits returns Misfits without one.
func NewMisfits() *Misfits {
	records, _ := simplelru.NewLRU[string, record](keptMisfits, nil) // fails only below a size of 1
	return &Misfits{records}
}

// Failed notes that a read of name failed within a batch.
func (m *Misfits) Failed(now time.Time, name string, weight int) {
	r, _ := m.records.Get(name)
	if r.weight += weight; r.weight >= tooMany {
		r = record{until: now.Add(pause)}
	}
	m.records.Add(name, r)
}

// Refused notes that the portal allows no read of name within a batch.
func (m *Misfits) Refused(now time.Time, name string) {
	m.records.Add(name, record{until: now.Add(pause)})
}

// Succeeded notes that a read of name succeeded within a batch.
func (m *Misfits) Succeeded(now time.Time, name string) {
	r, known := m.records.Get(name)
	switch {
	case !known:
	case r.weight <= 1 && !now.Before(r.until):
		m.records.Remove(name)
	default:
		r.weight = max(0, r.weight-1)
		m.records.Add(name, r)
	}
}

// Has reports whether the reads of name are sent alone now.
func (m *Misfits) Has(now time.Time, name string) bool {
	r, _ := m.records.Get(name)
	return now.Before(r.until)
}

package redisstore

import (
	"errors"
	"sync"
	"time"
)

// What the scripts say became of a write.
const (
	writeAdded = "added"
	writeSaved = "saved"
	writeBare  = "bare" // there was no room for its answer
	writeFull  = "full" // there was none for the write
	writeTaken = "taken"
)

// shortFor is how long a shortage lasts at least. Writes that are forgotten make room for
// single ones at any moment, and the log must not follow that.
const shortFor = time.Minute

// A shortage is a time in which the store had no room for something.
type shortage struct {
	mu   sync.Mutex
	last time.Time // when it had none; zero: it has room
}

// lacks notes that there was no room, and reports whether that is new.
func (x *shortage) lacks() (begins bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	begins = x.last.IsZero()
	x.last = time.Now()
	return begins
}

// fits notes that there was room, and reports whether a shortage is over by that.
func (x *shortage) fits() (ends bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	ends = !x.last.IsZero() && time.Since(x.last) >= shortFor
	if ends {
		x.last = time.Time{}
	}
	return ends
}

var errFull = errors.New("the store has no room for the write")

// noteWrite notes whether there was room for a write. That there was none counts as a
// request that failed, besides the one that found it out: then an alert fires.
func (s *Store) noteWrite(result any) {
	switch result {
	case writeFull:
		s.took(time.Now(), errFull)
		if s.writesShort.lacks() {
			s.config.Log.Warn("the shared store is more than three quarters full: writes that begin now are remembered by their own replica alone; give it more memory")
		}
	case writeAdded:
		if s.writesShort.fits() {
			s.config.Log.Info("the shared store has room for writes again")
		}
	}
}

// noteAnswer notes whether there was room for the answer to a write.
func (s *Store) noteAnswer(result any) {
	switch result {
	case writeBare:
		if s.answersShort.lacks() {
			s.config.Log.Warn("the shared store is more than half full: answers to writes that come now are remembered by their own replica alone; give it more memory")
		}
	case writeSaved:
		if s.answersShort.fits() {
			s.config.Log.Info("the shared store has room for the answers to writes again")
		}
	}
}

// Package statefile keeps, over a restart or a kill, when each upstream's bucket
// will be full again: so a start knows what was spent before it. It keeps notes of
// others beside that.
//
// The file is a header, with a random key, and one line for each upstream and each
// note, all of the same width and readable by people. Save and SaveNote overwrite a line by one pwrite(2). Once that has
// returned, or is half way, kill -9 cannot undo it: what was written belongs to
// the kernel, not to the process. A kill cannot cut a line in two either: the
// kernel may stop a write between two pages, and no line spans two. So Save need
// not wait for the disk. Only a crash of the machine can lose lines, and by the
// time it is up again the buckets of the documented plans are full or nearly so
// (25 s on the standard plan, 50 s on Enterprise).
//
// The file is locked while it is open. Lines of buckets that are full by now are
// used again, and so are those of notes that were removed, so the file has as many
// lines as the most that were in use at once, and the number is bounded.
package statefile

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A File is a state file that is open. It is safe for concurrent use.
type File struct {
	key     []byte
	mu      sync.Mutex
	file    *os.File
	records map[string]*record // by upstream
	notes   map[string]*note   // by id
	opened  map[string]string  // the notes that were there at first
	free    []int              // lines that may be used again
	lines   int                // in the file, without the header
	sweep   int                // buckets at which full ones are looked for
}

// A record is one line in use.
type record struct {
	line   int
	fullAt time.Time
}

// Bounds of a state file.
const (
	maxBuckets = 10_000 // when all are in use, the one that is full the soonest is forgotten
	firstSweep = 64     // buckets before full ones are looked for
)

// Key returns 32 random bytes that stay the same as long as the file does. Names that
// are made with it are the same after a restart.
func (f *File) Key() []byte { return f.key }

// Load returns when an upstream's bucket will be full again, if that is known.
// It may be long ago. If the clock was set back, it may be further off than any
// bucket takes, and the caller must bound it.
func (f *File) Load(upstream string) (fullAt time.Time, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.records[upstream]; r != nil {
		return r.fullAt, true
	}
	return time.Time{}, false
}

// Save writes when an upstream's bucket will be full again, at the rate of its
// plan. The instant is rounded up to a microsecond. The latest instant stays,
// whatever is saved after it. The name of an upstream is 1 to 260 printable
// ASCII characters without a space.
func (f *File) Save(upstream string, fullAt time.Time, rate float64) error {
	fullAt = fullAt.Add(time.Microsecond - 1).Truncate(time.Microsecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.records[upstream]
	if r != nil && !fullAt.After(r.fullAt) {
		return nil
	}
	now := time.Now()
	text, err := encodeLine(upstream, saved{fullAt, now, rate})
	if err != nil {
		return err
	}
	if r == nil {
		f.makeRoomLocked(now)
		r = &record{line: f.takeLineLocked()}
		f.records[upstream] = r
	}
	r.fullAt = fullAt
	if _, err := f.file.WriteAt(text, lineOffset(r.line)); err != nil {
		return fmt.Errorf("saving the state of %s: %w", upstream, err)
	}
	return nil
}

// makeRoomLocked frees lines before another bucket takes one.
func (f *File) makeRoomLocked(now time.Time) {
	if len(f.free) == 0 && len(f.records) >= f.sweep {
		f.freeFullLocked(now)
	}
	if len(f.records) == maxBuckets {
		f.freeSoonestLocked()
	}
}

// takeLineLocked finds a line that is not in use.
func (f *File) takeLineLocked() int {
	last := len(f.free) - 1
	if last < 0 {
		f.lines++
		return f.lines - 1
	}
	line := f.free[last]
	f.free = f.free[:last]
	return line
}

// freeFullLocked frees the lines of buckets that are full.
func (f *File) freeFullLocked(now time.Time) {
	for upstream, r := range f.records {
		if r.fullAt.Before(now) {
			f.free = append(f.free, r.line)
			delete(f.records, upstream)
		}
	}
	f.sweep = min(maxBuckets, max(firstSweep, 2*len(f.records)))
}

// freeSoonestLocked frees the line of the bucket that is full the soonest.
func (f *File) freeSoonestLocked() {
	var soonest string
	for upstream, r := range f.records {
		if soonest == "" || r.fullAt.Before(f.records[soonest].fullAt) {
			soonest = upstream
		}
	}
	f.free = append(f.free, f.records[soonest].line)
	delete(f.records, soonest)
}

// Close writes the file through to the disk and unlocks it. Saving fails
// afterwards.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.file.Sync(), f.file.Close())
}

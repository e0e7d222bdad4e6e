package limiter

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A StateFile remembers, over the end of the process, when each upstream's
// bucket will be full again: with that, a start knows what was spent before it.
//
// The file is a header and one line for each upstream, all of the same width,
// readable by people. Save overwrites a line by one pwrite(2). Once that has
// returned, or is half way, kill -9 cannot undo it: what was written belongs to
// the kernel, not to the process. Nor can a kill cut a line in two: the kernel
// may stop a write between two pages, and no line spans two. So Save need not
// wait for the disk. Only a crash of the machine can lose lines, and by the time
// it is up again, the buckets of the plans we know are full or nearly (25 s on
// the standard plan, 50 s on Enterprise).
//
// The file is locked while it is open. Lines of buckets that are full by now
// are used again, so the file is as long as the most upstreams that were busy at
// once, and bounded. A StateFile is safe for concurrent use.
type StateFile struct {
	mu      sync.Mutex
	file    *os.File
	records map[string]*record
	free    []int // lines that may be used again
	lines   int   // in the file, without the header
	sweep   int   // lines in use at which full buckets are looked for
}

// A record is one line in use.
type record struct {
	line   int
	fullAt time.Time
}

// Bounds of a state file.
const (
	maxLines   = 10_000 // when all are taken, the bucket that is full the soonest goes
	maxDamaged = 3      // damaged files that are kept
)

// OpenStateFile opens a state file, or begins one, and locks it. A file that is
// none of ours is renamed to path.damaged- and the time, and a line that is
// damaged is left out; warn is told of both, with arguments as slog has them. It
// fails if the file cannot be written or is open in another process. What was
// written on another plan than that of now counts as the worst that it can mean.
func OpenStateFile(path string, plan func(upstream string) Plan, warn func(msg string, args ...any)) (*StateFile, error) {
	if dir, err := os.Stat(filepath.Dir(path)); err == nil && dir.Mode().Perm()&0o022 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		warn("others than its owner may replace the state file: the directory that holds it is open to them; take the right away (chmod go-w)",
			"directory", filepath.Dir(path), "mode", dir.Mode().Perm().String())
	}
	s, err := openState(path, plan, warn)
	if errors.Is(err, errForeign) {
		var aside string
		if aside, err = setAside(path); err != nil {
			return nil, fmt.Errorf("the state file %s is damaged or not ours, and cannot be set aside: %w", path, err)
		}
		warn("the state file is damaged or not ours; it was set aside and a new one begun", "file", path, "kept", aside)
		s, err = openState(path, plan, warn)
	}
	if err != nil {
		return nil, fmt.Errorf("the state file cannot be used: %w", err)
	}
	return s, nil
}

// Load tells when an upstream's bucket will be full again, if that is known. It
// may be long ago; it may be further off than any bucket takes, if the clock
// was set back: the caller bounds it.
func (s *StateFile) Load(upstream string) (fullAt time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[upstream]; r != nil {
		return r.fullAt, true
	}
	return time.Time{}, false
}

// Save writes when an upstream's bucket will be full again, to the microsecond,
// rounded up, at the rate of its plan. The latest instant stays, whatever is
// saved after it. An upstream is named by 1 to 260 printable ASCII characters,
// none of them a space.
func (s *StateFile) Save(upstream string, fullAt time.Time, rate float64) error {
	fullAt = fullAt.Add(time.Microsecond - 1).Truncate(time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[upstream]
	if r != nil && !fullAt.After(r.fullAt) {
		return nil
	}
	now := time.Now()
	text, err := encodeLine(upstream, saved{fullAt, now, rate})
	if err != nil {
		return err
	}
	if r == nil {
		r = &record{line: s.takeLineLocked(now)}
		s.records[upstream] = r
	}
	r.fullAt = fullAt
	if _, err := s.file.WriteAt(text, lineOffset(r.line)); err != nil {
		return fmt.Errorf("saving the state of %s: %w", upstream, err)
	}
	return nil
}

// takeLineLocked finds a line for another upstream.
func (s *StateFile) takeLineLocked(now time.Time) int {
	if len(s.free) == 0 && s.lines >= s.sweep {
		s.freeFullLocked(now)
	}
	if len(s.free) == 0 && s.lines < maxLines {
		s.lines++
		return s.lines - 1
	}
	if len(s.free) == 0 {
		s.freeSoonestLocked()
	}
	last := len(s.free) - 1
	line := s.free[last]
	s.free = s.free[:last]
	return line
}

// freeFullLocked frees the lines of buckets that are full.
func (s *StateFile) freeFullLocked(now time.Time) {
	for upstream, r := range s.records {
		if r.fullAt.Before(now) {
			s.free = append(s.free, r.line)
			delete(s.records, upstream)
		}
	}
	s.sweep = min(maxLines, max(firstSweep, 2*len(s.records)))
}

// freeSoonestLocked frees the line that is the least loss.
func (s *StateFile) freeSoonestLocked() {
	var soonest string
	for upstream, r := range s.records {
		if soonest == "" || r.fullAt.Before(s.records[soonest].fullAt) {
			soonest = upstream
		}
	}
	s.free = append(s.free, s.records[soonest].line)
	delete(s.records, soonest)
}

// Close writes the file through to the disk and unlocks it. Saving then fails.
func (s *StateFile) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.file.Sync(), s.file.Close())
}

var errForeign = errors.New("not a state file")

// openState opens, locks and reads a file; errForeign if it is none of ours.
func openState(path string, plan func(string) Plan, warn func(msg string, args ...any)) (s *StateFile, err error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0: // whoever laid it chooses the file that is written
		return nil, fmt.Errorf("%s is a symbolic link; name the file itself", path)
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case err == nil && info.Mode().Perm()&0o022 != 0:
		warn("others than its owner may write the state file: they can stop or free all calls; take the right away (chmod go-w)",
			"file", path, "mode", info.Mode().Perm().String())
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := lockFile(f); err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// Another process may have set the file aside since it was opened.
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if named, err := os.Stat(path); err != nil || !os.SameFile(opened, named) {
		return nil, fmt.Errorf("%s was replaced by another process", path)
	}
	s = &StateFile{file: f, records: make(map[string]*record), sweep: firstSweep}
	return s, s.read(path, plan, warn)
}

// read takes in what the file holds, and cuts off what it need not.
func (s *StateFile) read(path string, plan func(string) Plan, warn func(msg string, args ...any)) error {
	text, err := io.ReadAll(io.LimitReader(s.file, lineOffset(maxLines)))
	if err != nil {
		return err
	}
	if len(text) == 0 {
		_, err := s.file.WriteAt(header(), 0)
		return err
	}
	if len(text) < lineWidth || !isHeader(text[:lineWidth]) {
		return errForeign
	}
	if _, err := s.file.WriteAt(header(), 0); err != nil { // of version 1, perhaps
		return err
	}
	now, damaged := time.Now(), 0
	for rest := text[lineWidth:]; len(rest) > 0; s.lines++ {
		line := rest[:min(lineWidth, len(rest))]
		rest = rest[len(line):]
		upstream, e, err := decodeLine(line)
		fullAt, old := e.fullAt, s.records[upstream]
		if err == nil {
			fullAt = e.under(now, plan(upstream))
		}
		switch {
		case err != nil:
			damaged++
			s.free = append(s.free, s.lines)
		case old == nil:
			s.records[upstream] = &record{s.lines, fullAt}
		case old.fullAt.Before(fullAt):
			s.free = append(s.free, old.line)
			old.line, old.fullAt = s.lines, fullAt
		default:
			s.free = append(s.free, s.lines)
		}
	}
	if damaged > 0 {
		warn("the state file has damaged lines; they are left out", "file", path, "lines", damaged)
	}
	return s.shrink(now)
}

// shrink frees the lines of full buckets and cuts off the free ones at the end.
func (s *StateFile) shrink(now time.Time) error {
	s.freeFullLocked(now)
	slices.Sort(s.free)
	for n := len(s.free); n > 0 && s.free[n-1] == s.lines-1; n-- {
		s.free = s.free[:n-1]
		s.lines--
	}
	return s.file.Truncate(lineOffset(s.lines))
}

// setAside renames a file. Of those set aside before, the oldest go; that may
// fail, since the next time makes up for it.
func setAside(path string) (name string, err error) {
	dir, prefix := filepath.Dir(path), filepath.Base(path)+".damaged-"
	name = filepath.Join(dir, prefix+time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.Rename(path, name); err != nil {
		return "", err
	}
	entries, _ := os.ReadDir(dir) // by name, so by time
	kept := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), prefix) })
	for _, e := range kept[:max(0, len(kept)-maxDamaged)] {
		os.Remove(filepath.Join(dir, e.Name()))
	}
	return name, nil
}

package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"b24proxy/limiter"
)

// maxDamaged bounds the damaged files that are kept.
const maxDamaged = 3

// othersMayWrite are the permissions of those who are not the owner.
const othersMayWrite fs.FileMode = 0o022

var errForeign = errors.New("not a state file")

// An opener opens a state file.
type opener struct {
	path string
	plan func(upstream string) limiter.Plan
	warn func(msg string, args ...any)
}

// Open opens a state file, or begins one, and locks it. It fails if the file
// cannot be written or is open in another process. A file that is not a state
// file is renamed to path.damaged- and the time, and damaged lines are left out;
// warn is called for both, with arguments as slog takes them. Where the plan of
// an upstream is not the one that its line was written on, the line counts as
// the worst that it can mean.
func Open(path string, plan func(upstream string) limiter.Plan, warn func(msg string, args ...any)) (*File, error) {
	o := opener{path, plan, warn}
	o.warnOfDirectory()
	f, err := o.open()
	if errors.Is(err, errForeign) {
		var aside string
		if aside, err = setAside(path); err != nil {
			return nil, fmt.Errorf("%s is damaged or not a state file, and cannot be set aside: %w", path, err)
		}
		warn("the state file was damaged or not a state file; it was set aside, and a new one was begun", "file", path, "kept", aside)
		f, err = o.open()
	}
	if err != nil {
		return nil, fmt.Errorf("the state file cannot be used: %w", err)
	}
	return f, nil
}

func (o opener) warnOfDirectory() {
	dir := filepath.Dir(o.path)
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&othersMayWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
		o.warn("users other than its owner can replace the state file, since they can write to its directory; take the right away (chmod go-w)",
			"directory", dir, "mode", info.Mode().Perm().String())
	}
}

// open opens, locks and reads the file. It fails with errForeign if that is not
// a state file.
func (o opener) open() (f *File, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(o.path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := lockFile(file); err != nil {
		return nil, fmt.Errorf("locking %s: %w", o.path, err)
	}
	// Another process may have set the file aside since it was opened.
	opened, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if named, err := os.Stat(o.path); err != nil || !os.SameFile(opened, named) {
		return nil, fmt.Errorf("%s was replaced by another process", o.path)
	}
	f = &File{file: file, records: make(map[string]*record), notes: make(map[string]*note), opened: make(map[string]string), sweep: firstSweep}
	return f, o.read(f)
}

// check looks at what is there before the file is opened.
func (o opener) check() error {
	info, err := os.Lstat(o.path)
	switch {
	case err != nil: // opening says why
	case info.Mode()&fs.ModeSymlink != 0: // whoever made the link chooses the file that is written
		return fmt.Errorf("%s is a symbolic link; name the file itself", o.path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", o.path)
	case info.Mode().Perm()&othersMayWrite != 0:
		o.warn("users other than its owner can write to the state file: they can stop or free all calls; take the right away (chmod go-w)",
			"file", o.path, "mode", info.Mode().Perm().String())
	}
	return nil
}

// read takes over what the file holds, and cuts off what is not needed.
func (o opener) read(f *File) error {
	text, err := io.ReadAll(io.LimitReader(f.file, lineOffset(maxBuckets+maxNotes)))
	if err != nil {
		return err
	}
	key, isHeader := readHeader(text[:min(lineWidth, len(text))])
	if len(text) > 0 && !isHeader {
		return errForeign
	}
	if f.key = key; key == nil {
		f.key = newKey()
	}
	if _, err := f.file.WriteAt(header(f.key), 0); err != nil { // the one that is there may be of another version
		return err
	}
	now, damaged := time.Now(), 0
	for text = text[min(lineWidth, len(text)):]; len(text) > 0; f.lines++ {
		line := text[:min(lineWidth, len(text))]
		text = text[len(line):]
		if !o.readLine(f, now, line) {
			damaged++
			f.free = append(f.free, f.lines)
		}
	}
	if damaged > 0 {
		o.warn("the state file has damaged lines; they are left out", "file", o.path, "lines", damaged)
	}
	return f.shrink(now)
}

// readLine takes over what a line says, and reports whether it can be read.
func (o opener) readLine(f *File, now time.Time, line []byte) bool {
	if isFree(line) {
		f.free = append(f.free, f.lines)
		return true
	}
	if id, until, text, err := decodeNote(line); err == nil {
		f.addNote(now, id, until, text)
		return true
	}
	upstream, e, err := decodeLine(line)
	if err == nil {
		f.addLine(upstream, e.under(now, o.plan(upstream)))
	}
	return err == nil
}

// addLine takes over the line that is read. Of several lines of one upstream the
// latest instant counts, and the others are free.
func (f *File) addLine(upstream string, fullAt time.Time) {
	old := f.records[upstream]
	switch {
	case old == nil:
		f.records[upstream] = &record{f.lines, fullAt}
	case old.fullAt.Before(fullAt):
		f.free = append(f.free, old.line)
		old.line, old.fullAt = f.lines, fullAt
	default:
		f.free = append(f.free, f.lines)
	}
}

// shrink frees the lines of full buckets and cuts off the free ones at the end.
func (f *File) shrink(now time.Time) error {
	f.freeFullLocked(now)
	slices.Sort(f.free)
	for n := len(f.free); n > 0 && f.free[n-1] == f.lines-1; n-- {
		f.free = f.free[:n-1]
		f.lines--
	}
	return f.file.Truncate(lineOffset(f.lines))
}

// setAside renames a file. Of those that were set aside before, the oldest are
// removed. That may fail, since the next time makes up for it.
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

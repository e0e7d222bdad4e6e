package statefile

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"b24proxy/limiter"
)

// later is an instant at which the buckets of these tests are full.
var later = time.Now().Add(time.Hour).UTC().Truncate(time.Second)

func standard(string) limiter.Plan { return limiter.Standard }

// warnings counts the warnings of a state file.
type warnings int

func (w *warnings) warn(string, ...any) { *w++ }

func openTest(t *testing.T, path string, wantWarnings warnings) *File {
	t.Helper()
	var w warnings
	s, err := Open(path, standard, w.warn)
	if err != nil {
		t.Fatal(err)
	}
	if w != wantWarnings {
		t.Errorf("got %d warnings, want %d", w, wantWarnings)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func save(t *testing.T, s *File, upstream string, at time.Time) {
	t.Helper()
	if err := s.Save(upstream, at, limiter.Standard.Rate); err != nil {
		t.Fatal(err)
	}
}

// The latest instant that was saved of an upstream is there after a restart,
// unless its bucket is full by then.
func TestLatestInstantOutlivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	if _, ok := s.Load("acme.example"); ok {
		t.Error("a new file knows an upstream, want none")
	}
	save(t, s, "acme.example", later)
	save(t, s, "acme.example", later.Add(time.Second+1))
	save(t, s, "acme.example", later.Add(time.Millisecond)) // earlier: changes nothing
	save(t, s, "other.example:8443", later)
	save(t, s, "past.example", time.Now().Add(-time.Minute))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save("acme.example", later.Add(time.Hour), limiter.Standard.Rate); !errors.Is(err, os.ErrClosed) {
		t.Errorf("saving after Close: got %v, want %v", err, os.ErrClosed)
	}
	s = openTest(t, path, 0)
	for upstream, want := range map[string]time.Time{
		"acme.example": later.Add(time.Second + time.Microsecond), "other.example:8443": later,
	} {
		if at, ok := s.Load(upstream); !ok || !at.Equal(want) {
			t.Errorf("%s: got %v (found: %v), want %v", upstream, at, ok, want)
		}
	}
	if _, ok := s.Load("past.example"); ok {
		t.Error("the bucket that is full is remembered, want it forgotten")
	}
}

// Save fails for a name or an instant that could not be read again.
func TestWhatCannotBeReadAgainIsNotSaved(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "state"), 0)
	for _, name := range []string{"", "two words", "line\nfeed", "ümlaut.example", strings.Repeat("a", maxUpstream+1)} {
		if s.Save(name, later, limiter.Standard.Rate) == nil {
			t.Errorf("%q was saved, want an error", name)
		}
	}
	if s.Save("acme.example", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), limiter.Standard.Rate) == nil {
		t.Error("a year of five digits was saved, want an error")
	}
	save(t, s, strings.Repeat("a", maxUpstream), later)
}

// Whichever byte is damaged, the file can be opened and holds no wrong instant: at
// most the damaged line is lost, with one warning.
func TestDamagedByteLosesOneLine(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	s := openTest(t, whole, 0)
	for i := range 3 {
		save(t, s, fmt.Sprintf("portal%d.example", i), later.Add(time.Duration(i)*time.Second))
	}
	s.Close()
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for offset := range text {
		damaged := append([]byte(nil), text...)
		damaged[offset] ^= byte(1 + offset%255)
		path := filepath.Join(dir, "damaged", "state")
		os.RemoveAll(filepath.Dir(path))
		os.Mkdir(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openTest(t, path, 1)
		for i := range 3 {
			at, ok := s.Load(fmt.Sprintf("portal%d.example", i))
			lost := offset < lineWidth || offset/lineWidth == i+1
			if ok == lost || ok && !at.Equal(later.Add(time.Duration(i)*time.Second)) {
				t.Fatalf("byte %d: portal %d: got %v (found: %v), want it lost: %v", offset, i, at, ok, lost)
			}
		}
		s.file.Close() // Close would wait for the disk, two thousand times
	}
}

// An upstream may have several lines: one was freed when its bucket was full, and
// not used again since. The latest instant counts, in whichever line it is.
func TestLatestOfSeveralLinesCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	text := header(newKey())
	for _, after := range []time.Duration{1, 3, 2} {
		line, err := encodeLine("acme.example", saved{later.Add(after * time.Second), time.Now(), limiter.Standard.Rate})
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, line...)
	}
	os.WriteFile(path, text, 0o600)
	s := openTest(t, path, 0)
	if at, _ := s.Load("acme.example"); !at.Equal(later.Add(3 * time.Second)) {
		t.Errorf("got %v, want %v", at, later.Add(3*time.Second))
	}
	if len(s.records) != 1 || s.lines != 2 || len(s.free) != 1 {
		t.Errorf("got %d records in %d lines, %d of them free; want 1, 2, 1", len(s.records), s.lines, len(s.free))
	}
}

// Wherever a file is cut off, the lines before the cut are kept.
func TestFileThatWasCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	save(t, s, "a.example", later)
	save(t, s, "b.example", later)
	s.Close()
	for size, want := range map[int64]struct {
		warnings warnings
		a, b     bool
	}{
		3*lineWidth - 1: {1, true, false}, 2*lineWidth + 1: {1, true, false}, 2 * lineWidth: {0, true, false},
		lineWidth + 27: {1, false, false}, lineWidth: {0, false, false}, lineWidth - 1: {1, false, false}, 1: {1, false, false}, 0: {0, false, false},
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut")
		os.WriteFile(cut, text[:size], 0o600)
		s := openTest(t, cut, want.warnings)
		_, a := s.Load("a.example")
		_, b := s.Load("b.example")
		if a != want.a || b != want.b {
			t.Errorf("cut at %d: found a: %v, b: %v; want %v, %v", size, a, b, want.a, want.b)
		}
		save(t, s, "c.example", later)
		s.Close()
		s = openTest(t, cut, 0)
		if _, ok := s.Load("c.example"); !ok {
			t.Errorf("cut at %d: what was saved afterwards is lost, want it there", size)
		}
	}
}

// A file that is not a state file is kept under another name. Of such files only
// the last few are kept.
func TestForeignFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for i := range maxDamaged + 3 {
		text := fmt.Sprintf("%d of somebody's letters", i)
		os.WriteFile(path, []byte(text), 0o600)
		openTest(t, path, 1).Close()
		kept, _ := filepath.Glob(path + ".damaged-*")
		if want := min(i+1, maxDamaged); len(kept) != want {
			t.Fatalf("got %d files that were set aside, want %d", len(kept), want)
		}
		if last, _ := os.ReadFile(kept[len(kept)-1]); string(last) != text {
			t.Errorf("got %q in the last one, want %q", last, text)
		}
	}
}

// Open fails where there cannot be a state file, and in a second process.
func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	openTest(t, path, 0)
	for want, path := range map[string]string{
		"open in another process":   path,
		"not a regular file":        dir,
		"no such file or directory": filepath.Join(dir, "missing", "state"),
		"not a directory":           filepath.Join(path, "state"),
	} {
		t.Run(want, func(t *testing.T) {
			var w warnings
			if s, err := Open(path, standard, w.warn); s != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error that says %q", err, want)
			}
		})
	}
}

// However many upstreams come and go, the file has lines only for those that are
// busy at the same time, and never more than its bound: then the bucket that is
// full the soonest is forgotten.
func TestLinesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	for i := range 5 * firstSweep {
		save(t, s, fmt.Sprintf("past%d.example", i), time.Now().Add(-time.Second))
	}
	if size := size(t, path); size > lineOffset(firstSweep) {
		t.Errorf("got %d bytes for buckets that are full, want %d at most", size, lineOffset(firstSweep))
	}
	for i := range maxBuckets + 10 {
		save(t, s, fmt.Sprintf("busy%d.example", i), later.Add(time.Duration(i)*time.Second))
	}
	if size := size(t, path); size > lineOffset(maxBuckets) || len(s.records) > maxBuckets {
		t.Errorf("got %d bytes and %d records, want %d and %d at most", size, len(s.records), lineOffset(maxBuckets), maxBuckets)
	}
	for i, want := range map[int]bool{0: false, 9: false, 10: true, maxBuckets + 9: true} {
		if _, ok := s.Load(fmt.Sprintf("busy%d.example", i)); ok != want {
			t.Errorf("upstream %d: found: %v, want %v", i, ok, want)
		}
	}
	s.Close()
	s = openTest(t, path, 0)
	if len(s.records) != maxBuckets {
		t.Errorf("got %d records after a restart, want %d", len(s.records), maxBuckets)
	}
}

// Looking for full buckets takes time, so a few lines are not searched.
func TestFewLinesAreNotSearched(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "state"), 0)
	for _, upstream := range []string{"a.example", "b.example"} {
		save(t, s, upstream, time.Now().Add(-time.Second))
	}
	if len(s.records) != 2 {
		t.Errorf("got %d records, want 2", len(s.records))
	}
}

// The lines of buckets that are full by now are used again before the file
// grows.
func TestLinesOfFullBucketsAreUsedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	for i := range firstSweep {
		save(t, s, fmt.Sprintf("u%d.example", i), later)
	}
	for i := range firstSweep {
		s.records[fmt.Sprintf("u%d.example", i)].fullAt = time.Now().Add(-time.Second)
	}
	save(t, s, "new.example", later)
	if got := size(t, path); got != lineOffset(firstSweep) || len(s.records) != 1 {
		t.Errorf("got %d bytes and %d records, want %d and 1", got, len(s.records), lineOffset(firstSweep))
	}
}

// Opening a file frees the lines that need not be kept: the file gets shorter.
func TestFileShrinksWhenOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	save(t, s, "busy.example", later)
	for i := range firstSweep / 2 {
		save(t, s, fmt.Sprintf("past%d.example", i), time.Now())
	}
	s.Close()
	s = openTest(t, path, 0)
	if got := size(t, path); got != lineOffset(1) {
		t.Errorf("got %d bytes, want %d", got, lineOffset(1))
	}
	if _, ok := s.Load("busy.example"); !ok {
		t.Error("the busy upstream was lost, want it there")
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Saves of the same and of different upstreams may run at the same time: the
// latest instant of each is there after a restart.
func TestConcurrentSaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				upstream := fmt.Sprintf("portal%d.example", j%5)
				if err := s.Save(upstream, later.Add(time.Duration(i*7919*j%4001)*time.Second), limiter.Standard.Rate); err != nil {
					t.Error(err)
				}
				s.Load(upstream)
			}
		})
	}
	wg.Wait()
	want := map[string]time.Time{}
	for upstream, r := range s.records {
		want[upstream] = r.fullAt
	}
	s.Close()
	s = openTest(t, path, 0)
	for upstream, at := range want {
		if got, _ := s.Load(upstream); !got.Equal(at) {
			t.Errorf("%s: got %v, want %v", upstream, got, at)
		}
	}
}

// What was saved survives kill -9, also one that comes while another line is
// written, and no line is damaged.
func TestKillLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for round := range 10 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "--", path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		saved, lines := map[string]time.Time{}, 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			upstream, micros, _ := strings.Cut(scanner.Text(), " ")
			n, err := strconv.ParseInt(micros, 10, 64)
			if err != nil {
				break // cut off by the kill
			}
			saved[upstream] = time.UnixMicro(n)
			if lines++; lines == 100+37*round {
				child.Process.Kill()
			}
		}
		if err := child.Wait(); err == nil || lines < 100 {
			t.Fatalf("the child was not killed while saving: %v after %d lines", err, lines)
		}
		s := openTest(t, path, 0)
		for upstream, want := range saved {
			if at, _ := s.Load(upstream); at.Before(want) {
				t.Errorf("%s: got %v, want %v or later", upstream, at, want)
			}
		}
		s.Close()
	}
}

// TestChild is not a test: it saves until the test above kills it.
func TestChild(t *testing.T) {
	if flag.NArg() != 1 {
		return
	}
	s, err := Open(flag.Arg(0), standard, func(msg string, _ ...any) { t.Fatal(msg) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1_000_000 {
		upstream, at := fmt.Sprintf("portal%d.example", i%7), time.Now().Add(time.Hour)
		if err := s.Save(upstream, at, limiter.Standard.Rate); err != nil {
			t.Fatal(err)
		}
		fmt.Println(upstream, at.UnixMicro())
	}
}

func BenchmarkSave(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "state"), standard, func(string, ...any) {})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range 1000 {
		s.Save(fmt.Sprintf("portal%d.example", i), later, limiter.Standard.Rate)
	}
	for b.Loop() {
		later = later.Add(time.Microsecond)
		if err := s.Save("portal500.example", later, limiter.Standard.Rate); err != nil {
			b.Fatal(err)
		}
	}
}

// Open fails for a symbolic link, and leaves its target as it was: else whoever
// can make a link there chooses the file that is written.
func TestSymbolicLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, leadsTo := range map[string]string{"a link to a file": target, "a link to nothing": filepath.Join(dir, "nothing"), "a link to itself": filepath.Join(dir, "a link to itself")} {
		t.Run(name, func(t *testing.T) {
			link := filepath.Join(dir, name)
			if err := os.Symlink(leadsTo, link); err != nil {
				t.Fatal(err)
			}
			_, err := Open(link, standard, func(string, ...any) {})
			if err == nil || !strings.Contains(err.Error(), "symbolic link") {
				t.Errorf("got %v, want an error that says it is a symbolic link", err)
			}
		})
	}
	if text, err := os.ReadFile(target); string(text) != "precious" {
		t.Errorf("got %q (%v) in the target, want precious", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nothing")); err == nil {
		t.Error("the target was created, want none")
	}
}

// Open warns when users other than the owner can write to the state file.
func TestFileThatOthersCanWrite(t *testing.T) {
	for mode, want := range map[os.FileMode]warnings{0o600: 0, 0o644: 0, 0o620: 1, 0o602: 1, 0o666: 1} {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Run(mode.String(), func(t *testing.T) { openTest(t, path, want) })
	}
}

// Open warns when other users can replace the file in its directory, but not
// where each user can replace only his own files.
func TestDirectoryThatOthersCanWrite(t *testing.T) {
	for mode, want := range map[os.FileMode]warnings{0o700: 0, 0o755: 0, 0o775: 1, 0o777: 1, 0o777 | os.ModeSticky: 0} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		t.Run(mode.String(), func(t *testing.T) { openTest(t, filepath.Join(dir, "state"), want) })
	}
}

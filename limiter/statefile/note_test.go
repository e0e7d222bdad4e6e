package statefile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func saveNote(t *testing.T, s *File, id string, until time.Time, text string) {
	t.Helper()
	if err := s.SaveNote(id, until, text); err != nil {
		t.Fatal(err)
	}
}

func wantNotes(t *testing.T, s *File, want map[string]string) {
	t.Helper()
	if got := s.Notes(); !maps.Equal(got, want) {
		t.Errorf("got the notes %q, want %q", got, want)
	}
}

// A restart finds the notes as they were saved last, without those that were removed or
// are over, and the buckets beside them.
func TestNotesOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	wantNotes(t, s, map[string]string{})
	saveNote(t, s, "a", later, "under way")
	save(t, s, "acme.example", later)
	saveNote(t, s, "b", later, "removed")
	saveNote(t, s, "c", time.Now().Add(-time.Minute), "over")
	saveNote(t, s, "a", later.Add(time.Hour), "it may have run")
	for _, id := range []string{"b", "b", "unknown"} {
		if err := s.RemoveNote(id); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s.Close()
		s = openTest(t, path, 0)
		wantNotes(t, s, map[string]string{"a": "it may have run"})
		if at, found := s.Load("acme.example"); !found || !at.Equal(later) {
			t.Errorf("got %v, %t for the bucket, want %v", at, found, later)
		}
	}
}

// What the file could not read again is not saved.
func TestNoteThatCannotBeReadAgain(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "state"), 0)
	for name, c := range map[string]struct {
		id, text string
		until    time.Time
	}{
		"no id": {"", "text", later}, "no text": {"a", "", later}, "an id of two words": {"a b", "text", later}, "two spaces": {"a", "x  y", later},
		"a space at the end": {"a", "x ", later}, "a line feed": {"a", "x\ny", later}, "another alphabet": {"a", "ж", later},
		"too long": {"a", strings.Repeat("x", lineWidth), later}, "a far year": {"a", "x", later.AddDate(10000, 0, 0)},
	} {
		if err := s.SaveNote(c.id, c.until, c.text); err == nil {
			t.Errorf("%s was saved, want an error", name)
		}
	}
	longest := strings.Repeat("x", lineSum-len(wordNote)-len(lineTime)-len(" a")-2)
	saveNote(t, s, "a", later, longest)
}

// The lines of notes that were removed are used again, for buckets too.
func TestLinesOfNotesAreUsedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := openTest(t, path, 0)
	for i := range 1000 {
		saveNote(t, s, fmt.Sprint(i), later, "text")
		if err := s.RemoveNote(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	save(t, s, "acme.example", later)
	if size := size(t, path); size != lineOffset(1) {
		t.Errorf("got %d bytes, want one line: %d", size, lineOffset(1))
	}
}

// There are at most 10,000 notes. When all are in use, those that are over go, else the
// one that is over the soonest.
func TestNotesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		s, now := openTest(t, path, 0), time.Now()
		for i := range maxNotes + 10 {
			saveNote(t, s, fmt.Sprint(i), now.Add(time.Hour+time.Duration(i)*time.Second), "text")
		}
		if s.lines != maxNotes || s.notes["9"] != nil || s.notes["10"] == nil {
			t.Errorf("got %d lines, the tenth note %v, the next %v, want %d, none and one", s.lines, s.notes["9"], s.notes["10"], maxNotes)
		}
		for i := range maxBuckets {
			save(t, s, fmt.Sprint(i), now.Add(24*time.Hour))
		}
		s.Close()
		s = openTest(t, path, 0)
		if len(s.Notes()) != maxNotes || len(s.records) != maxBuckets || size(t, path) != lineOffset(maxNotes+maxBuckets) {
			t.Errorf("got %d notes, %d buckets in %d bytes after a restart, want all", len(s.Notes()), len(s.records), size(t, path))
		}
		time.Sleep(4 * time.Hour)
		saveNote(t, s, "new", now.Add(24*time.Hour), "text")
		if s.notes["new"] == nil || len(s.notes) != 1 {
			t.Errorf("got %d notes when the others are over, want the new one", len(s.notes))
		}
	})
}

// A damaged byte loses one note. A file of version 3, which has none, keeps its key and
// its buckets.
func TestDamagedNote(t *testing.T) {
	whole, err := encodeNote("a", later, "it may have run")
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 1
		if id, _, text, err := decodeNote(damaged); err == nil {
			t.Errorf("byte %d: got the note %s %s, want an error", i, id, text)
		}
	}
	path := filepath.Join(t.TempDir(), "state")
	bucket, _ := encodeLine("acme.example", saved{later, later, 2})
	key := newKey()
	os.WriteFile(path, append(append(headerOf(headerText3, key), bucket...), whole...), 0o600)
	s := openTest(t, path, 0)
	if _, found := s.Load("acme.example"); !found || string(s.Key()) != string(key) {
		t.Errorf("version 3: got the bucket %t, the key %x, want true, %x", found, s.Key(), key)
	}
	wantNotes(t, s, map[string]string{"a": "it may have run"})
}

func FuzzDecodeNote(f *testing.F) {
	line, _ := encodeNote("a", later, "it may have run")
	f.Add(line)
	f.Add(line[:30])
	f.Add(seal(wordFree))
	f.Fuzz(func(t *testing.T, line []byte) {
		if id, until, text, err := decodeNote(line); err == nil {
			if again, err := encodeNote(id, until, text); err != nil || string(again) != string(line) {
				t.Errorf("%q was read, want an error", line)
			}
		}
	})
}

package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A line of a note has, separated by spaces: the word note, until when it is kept, its
// id, and its text. A line that is not in use may have the word free alone.
const (
	wordNote = "note"
	wordFree = "free"

	maxNotes = 10_000 // when all are in use, the one that is over the soonest is forgotten
)

// A note is one line in use.
type note struct {
	line  int
	until time.Time
}

// SaveNote keeps a text until a time, in place of the one that has the same id. The id
// and the words of the text are printable ASCII, with single spaces between them.
func (f *File) SaveNote(id string, until time.Time, text string) error {
	line, err := encodeNote(id, until, text)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.notes[id]
	if n == nil {
		f.makeRoomForNoteLocked(time.Now())
		n = &note{line: f.takeLineLocked()}
		f.notes[id] = n
	}
	n.until = until
	return f.writeLocked(n.line, line)
}

// RemoveNote removes a note, if it is there.
func (f *File) RemoveNote(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.notes[id]
	if n == nil {
		return nil
	}
	f.forgetNoteLocked(id)
	return f.writeLocked(n.line, seal(wordFree))
}

// Notes returns the texts that the file had when it was opened, by their ids.
func (f *File) Notes() map[string]string { return f.opened }

// makeRoomForNoteLocked forgets a note if there are as many as there may be. Those that
// are over are forgotten then, too.
func (f *File) makeRoomForNoteLocked(now time.Time) {
	if len(f.notes) < maxNotes {
		return
	}
	var soonest string
	for id, n := range f.notes {
		switch {
		case n.until.Before(now):
			f.forgetNoteLocked(id)
		case soonest == "" || n.until.Before(f.notes[soonest].until):
			soonest = id
		}
	}
	if len(f.notes) == maxNotes {
		f.forgetNoteLocked(soonest)
	}
}

func (f *File) forgetNoteLocked(id string) {
	f.free = append(f.free, f.notes[id].line)
	delete(f.notes, id)
}

func (f *File) writeLocked(line int, text []byte) error {
	if _, err := f.file.WriteAt(text, lineOffset(line)); err != nil {
		return fmt.Errorf("saving a note: %w", err)
	}
	return nil
}

// addNote takes over the line that is read, unless the note is over. Of two lines with
// one id, which only a foreign hand can write, the first counts.
func (f *File) addNote(now time.Time, id string, until time.Time, text string) {
	if f.notes[id] != nil || until.Before(now) || len(f.notes) == maxNotes {
		f.free = append(f.free, f.lines)
		return
	}
	f.notes[id] = &note{f.lines, until}
	f.opened[id] = text
}

// encodeNote writes a line. It fails if the line could not be read again.
func encodeNote(id string, until time.Time, text string) ([]byte, error) {
	at := until.UTC().Format(lineTime)
	line := wordNote + " " + at + " " + id + " " + text
	isPrintable := strings.TrimFunc(line, func(r rune) bool { return r >= ' ' && r <= '~' }) == ""
	if len(at) != len(lineTime) || len(line) > lineSum || !isPrintable || id == "" || strings.Contains(id, " ") || text == "" || strings.Join(strings.Fields(line), " ") != line {
		return nil, errors.New("a note cannot be written to a state file")
	}
	return seal(line), nil
}

// decodeNote reads a line. It fails unless every byte is as encodeNote writes it.
func decodeNote(line []byte) (id string, until time.Time, text string, err error) {
	words := strings.SplitN(strings.TrimRight(string(line[:min(lineSum, len(line))]), " "), " ", 4)
	if len(words) != 4 || words[0] != wordNote {
		return "", time.Time{}, "", errors.New("not a note")
	}
	if until, err = time.Parse(lineTime, words[1]); err != nil {
		return "", time.Time{}, "", err
	}
	again, err := encodeNote(words[2], until, words[3])
	if err == nil && !bytes.Equal(line, again) {
		err = errors.New("the checksum is wrong")
	}
	return words[2], until, words[3], err
}

func isFree(line []byte) bool { return bytes.Equal(line, seal(wordFree)) }

package replay

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Store keeps, over a restart or a kill, the calls that are under way or may have
// run. Each has an id, and a text of printable ASCII with single spaces. Package
// limiter/statefile has one.
type Store interface {
	SaveNote(id string, until time.Time, text string) error
	RemoveNote(id string) error
	Notes() map[string]string // that were saved, and are not over, when the store was opened
}

// stored writes entries to a store, if there is one.
type stored struct {
	store   Store
	warn    func(msg string, args ...any)
	failing bool // a series of failures is logged once
}

// save writes an entry. While its call is under way nobody knows its end. An
// idempotent call that a kill interrupts may be repeated.
func (s *stored) save(e *Entry) {
	until := e.end
	if e.outcome == UnderWay {
		until = e.began.Add(keyLife)
	}
	if s.store != nil && !(e.call.IsIdempotent && e.outcome == UnderWay) {
		s.report(s.store.SaveNote(e.id, until, e.text()))
	}
}

func (s *stored) remove(e *Entry) {
	if s.store != nil {
		s.report(s.store.RemoveNote(e.id))
	}
}

func (s *stored) report(err error) {
	failed := err != nil
	if failed && !s.failing && s.warn != nil {
		s.warn("the state file cannot be written; a restart will not know which calls may have run", "error", err)
	}
	s.failing = failed
}

// text is the entry in a store: its outcome, whether that is a success, why, when the
// call went out, when the outcome was known, the sums, and the id of the request.
func (e *Entry) text() string {
	c := e.call
	return fmt.Sprintf("%d %t %s %d %d %s %s %s %s", e.outcome, e.success, cmp.Or(string(e.why), "-"), e.began.UnixMicro(), e.settled.UnixMicro(),
		sumsText([]Sum{c.Sum}), sumsText(c.IDs), sumsText(c.Keys), cmp.Or(c.RequestID, "-"))
}

// entryOf reads an entry.
func entryOf(text string) (*Entry, error) {
	f := strings.Split(text, " ")
	if len(f) != 9 {
		return nil, fmt.Errorf("%d fields", len(f))
	}
	outcome, err1 := strconv.ParseInt(f[0], 10, 64)
	success, err2 := strconv.ParseBool(f[1])
	began, err3 := strconv.ParseInt(f[3], 10, 64)
	settled, err4 := strconv.ParseInt(f[4], 10, 64)
	sum, err5 := sumsOf(f[5])
	ids, err6 := sumsOf(f[6])
	keys, err7 := sumsOf(f[7])
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return nil, err
	}
	if o := Outcome(outcome); len(sum) != 1 || o < UnderWay || o > Unknown || o == NotRun {
		return nil, fmt.Errorf("%d sums, outcome %d", len(sum), outcome)
	}
	return &Entry{
		call:    Call{RequestID: f[8], Sum: sum[0], IDs: ids, Keys: keys},
		outcome: Outcome(outcome), success: success, why: Why(strings.TrimPrefix(f[2], "-")),
		began: time.UnixMicro(began), settled: time.UnixMicro(settled), sent: true, missed: true,
	}, nil
}

func sumsText(sums []Sum) string {
	if len(sums) == 0 {
		return "-"
	}
	texts := make([]string, len(sums))
	for i, sum := range sums {
		texts[i] = hex.EncodeToString(sum[:])
	}
	return strings.Join(texts, ",")
}

func sumsOf(text string) (sums []Sum, err error) {
	if text == "-" {
		return nil, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		raw, err := hex.DecodeString(one)
		if err != nil || len(raw) != len(Sum{}) {
			return nil, fmt.Errorf("%d bytes of a sum: %w", len(raw), err)
		}
		sums = append(sums, Sum(raw))
	}
	return sums, nil
}

// load takes over what the store kept.
func (m *Memory) load(now time.Time) {
	if m.config.Store == nil {
		return
	}
	var found []*Entry
	for id, text := range m.config.Store.Notes() {
		e, err := entryOf(text)
		if err != nil {
			m.stored.report(m.config.Store.RemoveNote(id))
			continue
		}
		e.memory, e.id = m, id
		e.interrupt(now)
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b *Entry) int { return a.settled.Compare(b.settled) })
	for _, e := range found {
		m.add(e)
		e.arrange(e.settled)
	}
	m.expire(now)
}

// interrupt ends what the process was at when it was killed: nobody will know the
// outcome of a call that was under way, and an answer is gone.
func (e *Entry) interrupt(now time.Time) {
	switch e.outcome {
	case UnderWay:
		e.outcome, e.why, e.settled = Unknown, Restart, now
	case Answered:
		e.why = Restart
	}
	if e.settled.After(now) { // the clock was set back
		e.settled = now
	}
}

package replay

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// counted returns a memory, and a count of what it dropped before its time.
func counted(edit func(*Config)) (m *Memory, evicted *int) {
	evicted = new(int)
	c := Config{Window: time.Minute, Evicted: func(string) { *evicted++ }}
	if edit != nil {
		edit(&c)
	}
	return New(start, c), evicted
}

// missed makes a call whose caller leaves, and which is answered then.
func missed(t *testing.T, m *Memory, now time.Time, c Call, size int64) {
	t.Helper()
	e := m.Meet(now, c).Own
	e.Sent(now)
	e.Left(now)
	r := Result{Outcome: Answered, Success: true}
	if size > 0 {
		if !e.Grow(size) {
			t.Fatalf("got no room for %d bytes", size)
		}
		r.Answer = c
	}
	e.Settle(now, r)
}

// The memory has at most 100,000 entries. The one that was settled first makes room for
// a new one, and that is counted; what is over goes without a count.
func TestEntriesAreBounded(t *testing.T) {
	m, evicted := counted(nil)
	for i := range maxEntries + 10 {
		missed(t, m, start.Add(time.Duration(i)), callOf("c", fmt.Sprint(i), ""), 0)
	}
	if m.entries != maxEntries || *evicted != 10 {
		t.Errorf("got %d entries, %d evicted, want %d, 10", m.entries, *evicted, maxEntries)
	}
	if v := m.Meet(start, callOf("c", "9", "")).Verdict; v != Send {
		t.Errorf("the tenth: got %v, want Send", v)
	}
	if v := m.Meet(start, callOf("c", "11", "")).Verdict; v != Hold {
		t.Errorf("the twelfth: got %v, want Hold", v)
	}
	*evicted = 0
	missed(t, m, start.Add(time.Hour), callOf("c", "later", ""), 0)
	if m.entries != 2 || *evicted != 0 {
		t.Errorf("an hour later: got %d entries, %d evicted, want the one under way and the new one, and none", m.entries, *evicted)
	}
}

// A memory that is full of calls under way drops none of them: their callers wait. The
// next call is sent, but not remembered.
func TestCallsUnderWayStay(t *testing.T) {
	m, evicted := counted(nil)
	for i := range maxEntries {
		m.Meet(start, callOf("c", fmt.Sprint(i), ""))
	}
	missed(t, m, start, callOf("c", "more", ""), 0)
	if v := m.Meet(start, callOf("c", "more", "")).Verdict; v != Send || m.entries != maxEntries || *evicted != 2 {
		t.Errorf("got %v, %d entries, %d evicted, want Send, %d, 2", v, m.entries, *evicted, maxEntries)
	}
}

// All answers together take at most 64 MiB. The oldest goes when a new one needs its
// room. Its call is still known to have run, so it is held.
func TestAnswersAreBounded(t *testing.T) {
	m, evicted := counted(nil)
	n := maxBytes / MaxAnswer
	for i := range n + 1 {
		missed(t, m, start, callOf("c", fmt.Sprint(i), ""), MaxAnswer)
	}
	if m.bytes != maxBytes || *evicted != 1 {
		t.Errorf("got %d bytes, %d evicted, want %d, 1", m.bytes, *evicted, maxBytes)
	}
	met := m.Meet(start, callOf("c", "0", ""))
	if met.Verdict != Hold || met.First.First().Why != Evicted {
		t.Errorf("the oldest: got %v of %+v, want Hold, evicted", met.Verdict, met.First.First())
	}
	if v := m.Meet(start, callOf("c", "1", "")).Verdict; v != Replay {
		t.Errorf("the next: got %v, want Replay", v)
	}
}

// Answers that are being read take no room from one another.
func TestAnswersUnderWayStay(t *testing.T) {
	m, evicted := counted(nil)
	var last *Entry
	for i := range maxBytes/MaxAnswer + 1 {
		if last = m.Meet(start, callOf("c", fmt.Sprint(i), "")).Own; i < maxBytes/MaxAnswer && !last.Grow(MaxAnswer) {
			t.Fatalf("answer %d: got no room", i)
		}
	}
	if last.Grow(1) || *evicted != 0 {
		t.Errorf("got room above the bound, or %d evicted, want neither", *evicted)
	}
}

// An observing memory sends every call. It counts a repetition once: what was missed of
// its first is missed no more, as if the repetition had got it.
func TestObserve(t *testing.T) {
	m, _ := counted(func(c *Config) { c.Observe = true })
	plain, keyed := callOf("c", "add", ""), callOf("c", "add", "k")
	meet := func(what string, c Call, want Verdict) *Entry {
		t.Helper()
		met := m.Meet(start, c)
		if met.Verdict != want || met.Own == nil {
			t.Fatalf("%s: got %v, sent %t, want %v and sent", what, met.Verdict, met.Own != nil, want)
		}
		return met.Own
	}
	missed(t, m, start, plain, 1)
	meet("a repetition", plain, Replay).Settle(start, Result{Outcome: NotRun})
	first := meet("one after that", plain, Send)
	first.Sent(start)
	first.Left(start)
	second := meet("a repetition of one under way", plain, Join)
	first.Settle(start, Result{Outcome: Unknown})
	second.Settle(start, Result{Outcome: Unknown})
	meet("one of unknown outcome", plain, Hold)
	missed(t, m, start, keyed, 1)
	for range 3 {
		e := meet("a key", keyed, Replay)
		e.Settle(start, Result{Outcome: Answered, Success: true, Answer: 1})
		e.Received(start)
	}
	meet("a key of another call", callOf("c", "send", "k"), Mismatch)
	if n := len(m.index[keyed.Keys[0]]); n != 1 {
		t.Errorf("got %d entries of one key, want 1", n)
	}
}

// A key is found by every name of who uses it, also by one that becomes known with the
// answer, and by no other's.
func TestNamesOfWhoUsesAKey(t *testing.T) {
	m, _ := counted(nil)
	by := func(names ...string) Call {
		c := Call{Sum: sum("add")}
		for _, name := range names {
			c.IDs, c.Keys = append(c.IDs, sum(name, "add")), append(c.Keys, sum(name, "key"))
		}
		return c
	}
	e := m.Meet(start, by("token 1")).Own
	e.Sent(start)
	e.Alias(by("application").Keys)
	e.Settle(start, Result{Outcome: Answered, Success: true, Answer: "it"})
	e.Received(start)
	for name, want := range map[string]Verdict{"token 1": Replay, "application": Replay, "token 2": Send} {
		if v := m.Meet(start, by(name)).Verdict; v != want {
			t.Errorf("%s: got %v, want %v", name, v, want)
		}
	}
	if v := m.Meet(start, by("application", "token 3")).Verdict; v != Replay {
		t.Errorf("a new token of the application: got %v, want Replay", v)
	}
}

// Headers do not count, and a key is one: a write with a key that nobody got the answer
// of is known without the key, too. With another key it is another write.
func TestKeyAndNone(t *testing.T) {
	m, _ := counted(nil)
	missed(t, m, start, callOf("c", "add", "k"), 1)
	for key, want := range map[string]Verdict{"": Replay, "k": Replay, "l": Send} {
		if v := m.Meet(start, callOf("c", "add", key)).Verdict; v != want {
			t.Errorf("key %q: got %v, want %v", key, v, want)
		}
	}
	if v := m.Meet(start.Add(time.Minute), callOf("c", "add", "")).Verdict; v != Send {
		t.Errorf("without a key after the window: got %v, want Send", v)
	}
}

// broken is a store that fails.
type broken struct{ notes }

func (broken) SaveNote(string, time.Time, string) error { return errors.New("no space left") }

// A store that fails does not keep calls from being sent. It is said once.
func TestStoreFails(t *testing.T) {
	warnings := 0
	m, _ := counted(func(c *Config) { c.Store, c.Warn = broken{}, func(string, ...any) { warnings++ } })
	for i := range 3 {
		m.Meet(start, callOf("c", fmt.Sprint(i), "")).Own.Sent(start)
	}
	if warnings != 1 {
		t.Errorf("got %d warnings, want 1", warnings)
	}
}

// What a store has that is not an entry is removed from it.
func TestDamagedNotes(t *testing.T) {
	good := (&Entry{call: callOf("c", "add", "k"), began: start, outcome: Unknown, settled: start, why: "reset"}).text()
	store, until := notes{}, time.Now().Add(time.Hour)
	for i, text := range []string{
		good, "", "1", good + " more", "9" + good[1:], "1" + good[1:], "x" + good[1:],
		"4 maybe" + good[len("4 false"):], good[:40], "4 false reset 1 1 00 - - r", "4 false reset 1 1 zz - - r", "4 false reset 1 1 - - - r",
	} {
		store.SaveNote(fmt.Sprint(i), until, text)
	}
	m := New(start, Config{Window: time.Minute, Store: store})
	if m.entries != 1 || len(store) != 1 {
		t.Errorf("got %d entries and %d notes, want the good one: %v", m.entries, len(store), store)
	}
	if v := m.Meet(start, callOf("c", "add", "k")).Verdict; v != Hold {
		t.Errorf("got %v, want Hold", v)
	}
}

// A clock that was set back does not make a call remembered for longer.
func TestClockIsSetBack(t *testing.T) {
	store := notes{}
	e := &Entry{call: callOf("c", "add", ""), began: start.Add(time.Hour), outcome: Unknown, settled: start.Add(time.Hour), why: "reset"}
	store.SaveNote("1", time.Now().Add(time.Hour), e.text())
	m := New(start, Config{Window: time.Minute, Store: store})
	if v := m.Meet(start.Add(time.Minute), callOf("c", "add", "")).Verdict; v != Send {
		t.Errorf("got %v after the window, want Send", v)
	}
}

// Package replay remembers the writes whose result nobody received, and the successes
// of calls with an Idempotency-Key. So it knows whether a call that comes is the
// repetition of one that has run, or may have.
//
// It knows hashes and times, not HTTP. A Memory has an Entry for each write that is
// under way or remembered. Meet says what to do with a call that comes; for one that
// is sent it returns the call's own Entry, to which is reported what becomes of it:
//
//	Sent      the call goes out
//	Left      its caller has left since
//	Settle    what is known of it now: it did not run, it was answered, or nobody knows
//	Received  its caller, or that of a repetition, has the whole answer
//
// An entry ends when its result was received, when the call did not run, when its time
// is over, or when it is the oldest and there is no room for a new one.
package replay

import (
	"cmp"
	"container/list"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// Bounds of a memory.
const (
	maxEntries = 100_000
	maxBytes   = 64 << 20  // of all answers
	MaxAnswer  = 256 << 10 // a larger one is not worth its room

	keyLife = 24 * time.Hour // how long an Idempotency-Key is remembered
)

// A Sum stands for a call or a key. It is a keyed hash, which shows nothing of what it
// was made of.
type Sum [16]byte

// A Call is what must be known of a write to recognize its repetition.
type Call struct {
	Portal    string
	RequestID string
	Sum       Sum   // of what is asked of the portal, whoever asks it
	IDs       []Sum // of the same and of who asks it, one for each name of that
	Keys      []Sum // of the Idempotency-Key and of who uses it, likewise; none: the call has no key

	IsIdempotent bool        // running it twice is the same as running it once
	HasGone      func() bool // reports whether its caller has left, though Left was not called yet; may be nil
}

// Config is what a Memory is made with.
type Config struct {
	Window  time.Duration                 // how long a write is remembered after its outcome is known
	Observe bool                          // every call is sent; Meet says what would have been done with it
	Store   Store                         // keeps entries over a restart; may be nil
	Shared  Shared                        // has the calls of all replicas; may be nil, and is where it observes
	Encode  func(answer any) []byte       // for the replicas, which get the bytes as the Answer
	Evicted func(portal string)           // is called for each entry or answer that is dropped before its time; may be nil
	Warn    func(msg string, args ...any) // of a store that fails; may be nil
}

// A Memory remembers writes. It is safe for concurrent use.
type Memory struct {
	config Config
	stored stored

	mu      sync.Mutex
	index   map[Sum][]*Entry // by their calls' IDs and Keys, the oldest first
	entries int
	bytes   int64      // of all answers, also of those that are being read
	window  *list.List // the entries that end with the window, in the order of their ends
	day     *list.List // those that are remembered for their key, likewise
	answers *list.List // those that have an answer, the oldest first
	evicted []string   // portals that Evicted is called for
	unsaved *list.List // the entries of which the replicas are to know something new
	savers  int        // that save them
}

// New returns a Memory of what its store kept.
func New(now time.Time, c Config) *Memory {
	m := &Memory{
		config: c, stored: stored{store: c.Store, warn: c.Warn},
		index: make(map[Sum][]*Entry), window: list.New(), day: list.New(), answers: list.New(), unsaved: list.New(),
	}
	m.load(now)
	if c.Shared != nil {
		c.Shared.WhenLost(m.saveAgain)
	}
	return m
}

// A Verdict says what to do with a call.
type Verdict int

const (
	Send     Verdict = iota // it repeats nothing
	Join                    // its first is under way: wait for that, see Entry.Done
	Replay                  // answer it with its first's answer
	Hold                    // do not send it: its first ran, or may have
	Mismatch                // its key is that of another call
)

// A Meeting is what a call meets.
type Meeting struct {
	Verdict Verdict
	First   *Entry // that it repeats; nil with Send
	Own     *Entry // of a call that is sent; nil for one that is not
}

// Meet says what to do with a call. One that observes sends it in any case.
func (m *Memory) Meet(now time.Time, c Call) Meeting {
	m.mu.Lock()
	defer m.unlock()
	m.expire(now)
	met := Meeting{First: m.find(now, c)}
	switch e := met.First; {
	case e == nil:
	case len(c.Keys) > 0 && e.call.Sum != c.Sum:
		met.Verdict = Mismatch
	default:
		met.Verdict = e.verdict()
	}
	switch {
	case met.Verdict == Send:
		met.Own = m.begin(now, c)
	case m.config.Observe:
		met.Own = m.begin(now, m.observed(now, met, c))
	}
	return met
}

// observed returns a repetition as a call that is sent in spite of that: its first is
// not remembered for another one, and if it is nevertheless, then for its key.
func (m *Memory) observed(now time.Time, met Meeting, c Call) Call {
	if met.Verdict == Join || met.Verdict == Replay {
		met.First.claim(now)
	}
	if met.First.isIn {
		c.Keys = nil
	}
	return c
}

// find returns the entry of the call that c repeats. A call with a key is compared
// with that key alone: a new key makes it another call.
func (m *Memory) find(now time.Time, c Call) *Entry {
	for _, key := range c.Keys {
		if found := m.index[key]; len(found) > 0 {
			return found[0]
		}
	}
	if len(c.Keys) > 0 {
		return nil
	}
	for _, id := range c.IDs {
		if i := slices.IndexFunc(m.index[id], func(e *Entry) bool { return e.isMissed(now) }); i >= 0 {
			return m.index[id][i]
		}
	}
	return nil
}

// Twin returns a channel that is closed when the caller of an identical call has left, or
// has its answer, or gets none. It is nil unless there is such a call whose caller seems
// to be there, waiting or getting the answer. A call with a key has no twin.
func (m *Memory) Twin(now time.Time, c Call) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(c.Keys) > 0 || m.find(now, c) != nil {
		return nil
	}
	for _, id := range c.IDs {
		for _, e := range m.index[id] {
			if e.outcome == UnderWay || e.isOnItsWay() {
				e.gone = cmp.Or(e.gone, make(chan struct{}))
				return e.gone
			}
		}
	}
	return nil
}

// begin makes the entry of a call that is sent. It is not in the memory if that is
// full of calls under way.
func (m *Memory) begin(now time.Time, c Call) *Entry {
	e := &Entry{memory: m, call: c, began: now, id: m.newID(), shared: sharing{version: 1}}
	if m.entries == maxEntries && !m.evict() {
		m.evicted = append(m.evicted, c.Portal)
		return e
	}
	m.add(e)
	return e
}

// newID is the id of an entry; "" where nobody else asks for it.
func (m *Memory) newID() string {
	if m.config.Store == nil && m.config.Shared == nil {
		return ""
	}
	return rand.Text()
}

func (m *Memory) add(e *Entry) {
	m.entries++
	e.isIn = true
	for _, name := range slices.Concat(e.call.IDs, e.call.Keys) {
		m.index[name] = append(m.index[name], e)
	}
}

// remove ends an entry.
func (m *Memory) remove(e *Entry) {
	if e.isIn {
		m.forget(e)
		m.changed(e)
	}
}

// forget ends an entry that the replicas forget by themselves.
func (m *Memory) forget(e *Entry) {
	m.entries--
	e.isIn = false
	for _, name := range slices.Concat(e.call.IDs, e.call.Keys) {
		m.index[name] = slices.DeleteFunc(m.index[name], func(o *Entry) bool { return o == e })
		if len(m.index[name]) == 0 {
			delete(m.index, name)
		}
	}
	m.dropAnswer(e)
	e.leaveQueue()
	m.stored.remove(e)
}

// expire removes the entries whose time is over.
func (m *Memory) expire(now time.Time) {
	for _, queue := range []*list.List{m.window, m.day} {
		for front := queue.Front(); front != nil && !now.Before(entryAt(front).end); front = queue.Front() {
			m.forget(entryAt(front))
		}
	}
}

// evict removes the entry that was settled first, and reports whether there is one.
func (m *Memory) evict() bool {
	var oldest *Entry
	for _, queue := range []*list.List{m.window, m.day} {
		if front := queue.Front(); front != nil && (oldest == nil || entryAt(front).settled.Before(oldest.settled)) {
			oldest = entryAt(front)
		}
	}
	if oldest == nil {
		return false
	}
	m.evicted = append(m.evicted, oldest.call.Portal)
	m.remove(oldest)
	return true
}

// dropAnswer gives back the room of an entry's answer. Who waits for the entry still
// has the answer.
func (m *Memory) dropAnswer(e *Entry) {
	m.bytes -= e.bytes
	e.bytes = 0
	if e.kept != nil {
		m.answers.Remove(e.kept)
		e.kept = nil
	}
}

// take takes n bytes for an answer, from the oldest answers if it must, and reports
// whether it could.
func (m *Memory) take(n int64) bool {
	for m.bytes+n > maxBytes {
		front := m.answers.Front()
		if front == nil {
			return false
		}
		oldest := entryAt(front)
		m.evicted = append(m.evicted, oldest.call.Portal)
		m.dropAnswer(oldest)
		oldest.answer, oldest.why = nil, Evicted
		m.changed(oldest)
	}
	m.bytes += n
	return true
}

// unlock unlocks the memory, and says then what was evicted.
func (m *Memory) unlock() {
	evicted := m.evicted
	m.evicted = nil
	m.mu.Unlock()
	if m.config.Evicted != nil {
		for _, portal := range evicted {
			m.config.Evicted(portal)
		}
	}
}

func entryAt(at *list.Element) *Entry { return at.Value.(*Entry) }

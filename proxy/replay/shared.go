package replay

import (
	"cmp"
	"container/list"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// A Shared is what the memories of several replicas have in common: the calls that are
// under way at any of them, or remembered. Package limiter/redisstore has one. It fails
// where it cannot be reached; what counts then is what the memory itself knows.
//
// A replica that has not been seen for some seconds counts as dead.
type Shared interface {
	// MeetWrite adds a call, unless it repeats a call of another replica: with a key, one
	// that has the same key; without, an identical one that is open. It returns that one.
	//
	// An identical call whose caller seems to be there is not repeated. But that is sure
	// only if its replica has been seen since then: a replica that died cannot say that
	// the caller left. Until that is known the call is not added and has to wait.
	MeetWrite(own Record, since time.Duration) (first Record, wait bool, err error)

	// SaveWrite brings a call of this replica up to date. It reports whether another one
	// has taken it over: a call that was not sent, of a replica that seemed dead, is sent by
	// who repeats it.
	SaveWrite(r Record) (isTaken bool, err error)

	// FindWrite returns what is known of a call. The record is empty if it is not known,
	// and has no text if it did not run.
	// Since is for how long its replica may have been absent.
	FindWrite(portal, id string, since time.Duration) (Record, error)

	// ReceiveWrite says that the caller of a repetition has got the answer to a call of
	// another replica. Nobody repeats it then, besides one with its key if that is kept.
	ReceiveWrite(portal, id string, keepsKey bool) error

	// WhenLost has a function called each time the calls may have been lost. MeetWrite has
	// a call wait then, until the replicas have had time to save theirs again. It is
	// called once, before all else.
	WhenLost(again func())
}

// A Record is what the replicas know of a call. It has no type of its own, so that a
// Shared need not import this package.
type Record = struct {
	Portal, ID string
	Version    int64    // an older one does not take the place of a newer one
	Calls      []string // by which an identical call finds it
	Keys       []string // by which a call with its key finds it
	Text       string   // the entry, see Entry.text; "": it did not run
	Answer     []byte
	Sent       bool

	Open   time.Duration // for how long an identical call repeats it
	Busy   bool          // its caller seems to be there, waiting or getting the answer
	Orphan time.Duration // how long it is open after its replica was last seen, if that dies; 0: it is gone then; negative: that changes nothing
	Keep   time.Duration // it is forgotten then
	IsOver bool          // nobody finds it any more; who waits for it may still read it

	// A Shared sets these.
	IsLost     bool // its replica died before its outcome was known, or its answer delivered
	IsReceived bool // the caller of a repetition at another replica has its answer
}

const (
	overKept   = 10 * time.Second       // a call that is over is kept so long for who waits for it
	pollEach   = 50 * time.Millisecond  // at least, and up to twice that, so that replicas do not ask in step
	savePause  = 500 * time.Millisecond // before a change is saved again that could not be
	mostSavers = 8                      // changes that are saved at once
	lostAfter  = 3 * time.Second        // who waits for a call at another replica gives up when the store is away for so long
)

// sharing is what an entry needs to be known to the replicas. The memory's lock is for it.
type sharing struct {
	isShared bool          // the replicas have it, or are to have it
	version  int64         // counts the changes
	saved    int64         // the version that the store has; 0: none
	unsaved  *list.Element // in the memory's list

	isForeign bool      // it stands for a call of another replica, and is in no memory
	asked     time.Time // since when its outcome is waited for
	failing   time.Time // since when the store does not say anything of it; zero: it did
}

// MeetAll does what Meet does, among the calls of all replicas. An identical call whose
// replica is seen after an instant, and whose caller has not left, is another call. It
// may take some seconds to know that; it ends when the caller leaves.
func (m *Memory) MeetAll(caller context.Context, after time.Time, c Call) Meeting {
	for {
		met := m.Meet(time.Now(), c)
		switch {
		case m.config.Shared == nil:
			return met
		case met.Own != nil:
			return m.compare(caller, after, met.Own)
		case !m.wasReceived(met.First, c):
			return met
		}
	}
}

// wasReceived reports whether another replica has given the answer to a call of this
// one to a repetition. Then the next identical call is another one. Of all else this
// memory knows more about its own calls than the replicas do.
func (m *Memory) wasReceived(first *Entry, c Call) bool {
	m.mu.Lock()
	mayBe := first.shared.saved > 0 && first.outcome == Answered && (len(c.Keys) == 0 || !first.success)
	m.mu.Unlock()
	if !mayBe {
		return false
	}
	r, err := m.config.Shared.FindWrite(c.Portal, first.id, 0)
	if err != nil || !r.IsReceived {
		return false
	}
	first.Received(time.Now())
	return true
}

// compare compares a call that this memory would send with those of the other replicas.
func (m *Memory) compare(caller context.Context, after time.Time, own *Entry) Meeting {
	for {
		r, isIn := own.snapshot()
		if !isIn { // there was no room for it
			return Meeting{Own: own}
		}
		first, wait, err := m.config.Shared.MeetWrite(r, time.Since(after))
		switch {
		case err == nil && first.ID != "":
			own.Settle(time.Now(), Result{Outcome: NotRun}) // who has joined it meets the other one, too
			return m.repetition(own.call, first)
		case err == nil && !wait:
			own.share(r.Version)
			return Meeting{Own: own}
		case err != nil || !pause(caller):
			own.share(0)
			return Meeting{Own: own}
		}
	}
}

// repetition is the meeting of a call with that of another replica.
func (m *Memory) repetition(c Call, first Record) Meeting {
	e := &Entry{memory: m, id: first.ID, call: Call{Portal: c.Portal}, shared: sharing{isForeign: true, asked: time.Now()}}
	e.learn(first)
	if len(c.Keys) > 0 && e.call.Sum != c.Sum && e.outcome != NotRun {
		return Meeting{Verdict: Mismatch, First: e}
	}
	return Meeting{Verdict: e.verdict(), First: e}
}

// learn takes over what the replicas know of a call.
func (e *Entry) learn(r Record) {
	known, err := entryOf(r.Text)
	switch {
	case r.Text == "" || r.IsLost && r.Orphan == 0:
		e.outcome = NotRun
	case err != nil: // it is of another version of this program
		e.outcome, e.why, e.sent = Unknown, Restart, true
	default:
		e.call.RequestID, e.call.Sum = known.call.RequestID, known.call.Sum
		e.outcome, e.success, e.why, e.began, e.settled, e.sent = known.outcome, known.success, known.why, known.began, known.settled, r.Sent
		if len(r.Answer) > 0 {
			e.answer = r.Answer
		} else if e.outcome == Answered {
			e.why = cmp.Or(e.why, Evicted) // the store had no room for it
		}
		if r.IsLost && e.outcome == UnderWay {
			e.interrupt(time.Now())
		}
	}
}

// Await waits until the outcome is known, and reports whether it is.
func (e *Entry) Await(caller context.Context) bool {
	if !e.shared.isForeign {
		select {
		case <-e.Done():
			return true
		case <-caller.Done():
			return false
		}
	}
	for e.First().Outcome == UnderWay {
		if !pause(caller) {
			return false
		}
		e.ask(time.Now())
	}
	return true
}

// ask asks the replicas for what is known of a call of another one. If they cannot say
// for long, or have lost it, nobody will know: the caller is told so rather than to wait
// on.
func (e *Entry) ask(now time.Time) {
	r, err := e.memory.config.Shared.FindWrite(e.call.Portal, e.id, now.Sub(e.shared.asked))
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	switch {
	case err == nil && r.ID != "":
		e.shared.failing = time.Time{}
		e.learn(r)
	case e.shared.failing.IsZero():
		e.shared.failing = now
	case now.Sub(e.shared.failing) > lostAfter:
		e.outcome, e.why = Unknown, StoreAway
	}
}

// pause waits for a moment, and reports whether the caller is there still.
func pause(caller context.Context) bool {
	enough := time.NewTimer(pollEach + rand.N(pollEach))
	defer enough.Stop()
	select {
	case <-enough.C:
		return true
	case <-caller.Done():
		return false
	}
}

// snapshot is what the replicas are to know of an entry, and whether it is in the memory.
func (e *Entry) snapshot() (r Record, isIn bool) {
	m := e.memory
	m.mu.Lock()
	r, answer, isIn := e.record(time.Now()), e.answer, e.isIn
	if !e.missed && len(e.call.Keys) == 0 {
		answer = nil // only its caller gets it
	}
	m.mu.Unlock()
	if answer != nil && m.config.Encode != nil {
		r.Answer = m.config.Encode(answer)
	}
	return r, isIn
}

// record is an entry as the replicas are to know it, without its answer.
func (e *Entry) record(now time.Time) Record {
	c, window := &e.call, e.memory.config.Window
	r := Record{
		Portal: c.Portal, ID: e.id, Version: e.shared.version, Calls: names(c.IDs), Keys: names(c.Keys),
		Text: e.text(), Sent: e.sent, Orphan: -1, Keep: keyLife,
	}
	isOnItsWay := e.isOnItsWay()
	if (e.outcome == UnderWay || isOnItsWay) && e.isIn {
		r.Orphan = 0
		if e.sent && !c.IsIdempotent {
			r.Orphan = window
		}
	}
	switch {
	case !e.isIn:
		r.IsOver, r.Keep = true, overKept
		if e.outcome == NotRun {
			r.Text = ""
		}
	case e.outcome == UnderWay && e.missed:
		r.Open = keyLife
	case e.outcome == UnderWay, isOnItsWay:
		r.Busy = true
	case e.missed || e.outcome != Answered:
		r.Open, r.Keep = e.settled.Add(window).Sub(now), e.end.Sub(now)
	default:
		r.Keep = e.end.Sub(now)
	}
	return r
}

func names(sums []Sum) (all []string) {
	for _, sum := range sums {
		all = append(all, hex.EncodeToString(sum[:]))
	}
	return all
}

// share makes an entry one that the replicas know, in this version; 0: not yet.
func (e *Entry) share(version int64) {
	m := e.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	e.shared.isShared, e.shared.saved = true, version
	if e.shared.version > version {
		m.saveSoon(e)
	}
}

// changed notes that the replicas are to know something new of an entry.
func (m *Memory) changed(e *Entry) {
	e.shared.version++
	switch {
	case !e.shared.isShared:
	case !e.isIn && e.shared.saved == 0: // they never knew it
		e.shared.isShared = false
		m.savedOrGone(e)
	default:
		m.saveSoon(e)
	}
}

// saveAgain has all entries saved that the replicas had.
func (m *Memory) saveAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, entries := range m.index {
		for _, e := range entries {
			if e.shared.isShared && e.shared.unsaved == nil {
				e.shared.version++
				m.saveSoon(e)
			}
		}
	}
}

// saveSoon has an entry saved, as soon as the store is there. What is over does not
// wait in any number: the store forgets it by itself.
func (m *Memory) saveSoon(e *Entry) {
	if e.shared.unsaved == nil {
		e.shared.unsaved = m.unsaved.PushBack(e)
	}
	if m.unsaved.Len() > maxEntries {
		m.savedOrGone(entryAt(m.unsaved.Front()))
	}
	if m.savers < mostSavers {
		m.savers++
		go m.saveAll()
	}
}

func (m *Memory) savedOrGone(e *Entry) {
	if e.shared.unsaved != nil {
		m.unsaved.Remove(e.shared.unsaved)
		e.shared.unsaved = nil
	}
}

// saveAll saves entries as long as there are any to save.
func (m *Memory) saveAll() {
	for {
		m.mu.Lock()
		front := m.unsaved.Front()
		if front == nil {
			m.savers--
			m.mu.Unlock()
			return
		}
		e := entryAt(front)
		m.savedOrGone(e)
		m.mu.Unlock()
		if _, err := e.save(); err != nil {
			time.Sleep(savePause)
		}
	}
}

// save brings up to date what the replicas know of an entry, and reports whether another
// one has taken its call over.
func (e *Entry) save() (isTaken bool, err error) {
	m := e.memory
	m.mu.Lock()
	isNew := e.shared.isShared && e.shared.version > e.shared.saved
	m.mu.Unlock()
	if !isNew {
		return false, nil
	}
	r, _ := e.snapshot()
	isTaken, err = m.config.Shared.SaveWrite(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		e.shared.saved = max(e.shared.saved, r.Version)
	case e.shared.isShared:
		m.saveSoon(e)
	}
	return isTaken, err
}

// Flush waits until the replicas know all that they are to know, for the given time at
// most.
func (m *Memory) Flush(wait time.Duration) {
	for end := time.Now().Add(wait); !m.isSaved() && time.Now().Before(end); {
		time.Sleep(wait / 100)
	}
}

func (m *Memory) isSaved() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.savers == 0
}

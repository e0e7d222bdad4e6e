package replay

import (
	"container/list"
	"slices"
	"time"
)

// An Outcome is what is known of a call that went out, or should have.
type Outcome int

const (
	UnderWay Outcome = iota
	NotRun           // surely
	Answered         // with a success, or with the method's own refusal
	Ran              // but its answer was an error
	Unknown          // it may have run
)

// Why says in a word what became of a call. Its sender chooses the word, besides these.
type Why string

const (
	TooLarge Why = "too_large" // the answer was
	Evicted  Why = "evicted"   // the answer had to go, since others needed its room
	Restart  Why = "restart"   // the process ended meanwhile

	StoreAway Why = "store_away" // another replica has the call, and cannot be asked
	TakenOver Why = "taken_over" // another replica has sent it, since this one seemed dead
)

// A Result is what became of a call.
type Result struct {
	Outcome Outcome
	Success bool // of an answer
	Answer  any  // that a repetition gets; nil: it was not kept
	Why     Why
}

// An Entry is a write that is under way or remembered.
type Entry struct {
	memory *Memory
	call   Call
	id     string // in the store, and among replicas

	// The memory's lock is for all that follows.
	isIn     bool
	began    time.Time // it went out then, once it has
	sent     bool
	missed   bool // its caller has left and did not get the answer
	received bool // the answer was received, and is kept for its key
	outcome  Outcome
	success  bool
	answer   any
	why      Why
	done     chan struct{} // closed when the outcome is known; made when somebody waits for it
	gone     chan struct{} // closed when the caller has left, or has the answer, or gets none; likewise

	settled time.Time // when the outcome was known and no caller was there any more
	end     time.Time // of the entry
	queue   *list.List
	at      *list.Element // in queue

	bytes int64         // taken for the answer
	kept  *list.Element // in the memory's list of answers

	shared sharing
}

// A First is what is known of the call that another one repeats.
type First struct {
	Verdict   Verdict // on its repetition
	RequestID string
	Sent      time.Time
	Outcome   Outcome
	Answer    any // with Replay
	Why       Why
}

// First says what is known of a call now.
func (e *Entry) First() First {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	return First{e.verdict(), e.call.RequestID, e.began, e.outcome, e.answer, e.why}
}

// verdict says what to do with the repetition of a call.
func (e *Entry) verdict() Verdict {
	switch {
	case e.outcome == UnderWay:
		return Join
	case e.outcome == NotRun:
		return Send
	case e.outcome == Answered && e.answer != nil:
		return Replay
	}
	return Hold
}

// isMissed reports whether an identical call without a key repeats this one: nobody
// received its result, and its window is not over.
func (e *Entry) isMissed(now time.Time) bool {
	switch e.outcome {
	case UnderWay:
		if !e.missed && e.call.HasGone != nil && e.call.HasGone() {
			e.missed = true
			e.memory.changed(e)
		}
		return e.missed
	case Answered:
		return e.missed && now.Before(e.settled.Add(e.memory.config.Window))
	}
	return now.Before(e.settled.Add(e.memory.config.Window))
}

// isOnItsWay reports whether the caller is getting the answer.
func (e *Entry) isOnItsWay() bool { return e.outcome == Answered && !e.missed && !e.received }

// Done returns a channel that is closed when the outcome is known.
func (e *Entry) Done() <-chan struct{} {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	if e.done == nil {
		e.done = make(chan struct{})
		if e.outcome != UnderWay {
			close(e.done)
		}
	}
	return e.done
}

// IsSent reports whether the call went out.
func (e *Entry) IsSent() bool {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	return e.sent
}

// Sent says that the call goes out now, if it has not before. It reports whether it may:
// another replica may have taken it over and sent it.
func (e *Entry) Sent(now time.Time) bool {
	e.memory.mu.Lock()
	if e.sent {
		e.memory.mu.Unlock()
		return true
	}
	e.sent, e.began = true, now
	e.shared.version++
	if e.isIn {
		e.memory.stored.save(e)
	}
	e.memory.mu.Unlock()
	isTaken, _ := e.save() // the replicas know it before it goes out
	return !isTaken
}

// Left says that the caller has left without the whole answer.
func (e *Entry) Left(now time.Time) {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	if e.missed || e.received {
		return
	}
	e.missed = true
	e.notifyGone()
	if e.isIn && e.outcome == Answered {
		e.remain(now)
		e.memory.stored.save(e)
	}
	e.memory.changed(e)
}

func (e *Entry) notifyGone() {
	if e.gone != nil {
		close(e.gone)
		e.gone = nil
	}
}

// Alias adds names of who uses the call's key, as they become known.
func (e *Entry) Alias(keys []Sum) {
	m := e.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		if e.isIn && len(m.index[key]) == 0 {
			e.call.Keys = append(slices.Clip(e.call.Keys), key)
			m.index[key] = append(m.index[key], e)
			m.changed(e)
		}
	}
}

// Grow takes n bytes for the answer, and reports whether there is room.
func (e *Entry) Grow(n int64) bool {
	m := e.memory
	m.mu.Lock()
	defer m.unlock()
	if !e.isIn || !m.take(n) {
		return false
	}
	e.bytes += n
	return true
}

// Settle says what became of the call, once.
func (e *Entry) Settle(now time.Time, r Result) {
	m := e.memory
	m.mu.Lock()
	defer m.unlock()
	if e.outcome != UnderWay {
		return
	}
	e.outcome, e.success, e.answer, e.why, e.settled = r.Outcome, r.Success, r.Answer, r.Why, now
	e.call.HasGone = nil // it may hold much
	if e.outcome == Unknown && e.call.IsIdempotent {
		e.outcome = NotRun // for its repetition that is the same
	}
	if e.done != nil {
		close(e.done)
	}
	if !e.isOnItsWay() {
		e.notifyGone()
	}
	e.arrange(now)
}

// Received says that the caller, or that of a repetition, has the whole answer. If it is
// that of a repetition, the replicas know it before that caller can make another call.
func (e *Entry) Received(now time.Time) {
	m := e.memory
	m.mu.Lock()
	wasMissed, outcome := e.missed, e.outcome
	e.claim(now)
	m.unlock()
	switch {
	case e.shared.isForeign && outcome == Answered:
		m.config.Shared.ReceiveWrite(e.call.Portal, e.id, e.success) // if it fails, the next identical call is taken for a repetition
	case wasMissed:
		e.save()
	}
}

// claim counts the answer as received. Only that of a success with a key is kept.
func (e *Entry) claim(now time.Time) {
	e.notifyGone()
	switch {
	case e.outcome == Answered && e.isIn && len(e.call.Keys) > 0 && e.success:
		if e.queue == nil {
			e.remain(now)
		}
		e.missed, e.received = false, true
		e.memory.stored.remove(e)
		e.memory.changed(e)
	case e.outcome == Answered, e.outcome == UnderWay && e.memory.config.Observe:
		e.memory.remove(e)
	}
}

// arrange gives an entry the end that its outcome has.
func (e *Entry) arrange(now time.Time) {
	m := e.memory
	switch {
	case !e.isIn:
		return
	case e.outcome == NotRun:
		m.remove(e)
		return
	case !e.isOnItsWay():
		e.remain(now)
	}
	if e.answer == nil {
		m.dropAnswer(e)
	} else {
		e.kept = m.answers.PushBack(e)
	}
	if e.missed || e.outcome != Answered {
		m.stored.save(e)
	}
	if !e.isOnItsWay() || len(e.call.Keys) > 0 { // the replicas need not know what its caller is about to receive
		m.changed(e)
	}
}

// remain makes an entry one that is remembered from now on, for as long as its outcome
// says.
func (e *Entry) remain(now time.Time) {
	m := e.memory
	e.settled, e.queue, e.end = now, m.window, now.Add(m.config.Window)
	if len(e.call.Keys) > 0 && (e.outcome != Answered || e.success) {
		e.queue, e.end = m.day, now.Add(keyLife)
	}
	e.at = e.queue.PushBack(e)
}

func (e *Entry) leaveQueue() {
	if e.queue != nil {
		e.queue.Remove(e.at)
		e.queue, e.at = nil, nil
	}
}

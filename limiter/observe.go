package limiter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Observing runs the code of enforcing. A call is let go at once, and a shadow
// of it asks for a slot in its place: the shadow is rejected, granted or queued
// by the same rules as the call would be, and holds its slot for as long as the
// call took. What is reported of the call is what was decided on its arrival.
//
// The upstream answers more calls, and sooner, than enforcing would have sent.
// What it accepts is our share, whichever calls they are. A refusal, however,
// counts only where enforcing would have met it too: not while we have let more
// go than the bucket holds (see flood), and not, at a lowered rate, of a call
// whose shadow had to wait.

// A shadow is the part of a Slot that only an observing limiter uses.
type shadow struct {
	line    *line
	sent    time.Time // the call
	earlier int       // calls that were answered before it was sent
	flooded bool      // more had been let go than the bucket holds

	mu      sync.Mutex
	waiting bool
	slot    *Slot         // nil: it waits, or was rejected
	pending []func(*Slot) // for the slot of a shadow that waits
	ended   bool          // the call was answered, or not sent
}

// watch lets a call go, and its shadow in. The line is pinned by its caller; the
// pin passes to the shadow.
func (l *line) watch(r Request) (*Slot, error) {
	w, wait, err := l.enter(r)
	var would *Rejection
	if errors.As(err, &would) {
		l.pins.Add(-1)
		if would.Reason == Draining {
			return nil, would
		}
	}
	h := &shadow{line: l, waiting: wait > 0}
	s := &Slot{line: l, shadow: h, EstimatedWait: wait, WouldReject: would}
	l.letGo(s)
	l.persistence.save(l.upstream, s)
	switch {
	case would != nil:
	case h.waiting:
		go h.emerge(w)
	default:
		h.slot, _ = l.await(context.Background(), w)
		h.sent = h.slot.sent
	}
	return s, nil
}

// letGo books a call that leaves without asking.
func (l *line) letGo(s *Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.shadow.sent = time.Now()
	l.flood.calls++
	s.shadow.earlier = l.flood.answered
	if l.bucket == nil {
		return
	}
	l.flood.drain(s.shadow.sent, l.bucket.plan)
	l.flood.level++
	s.shadow.flooded = l.floodedLocked()
	s.bucket = l.bucket
	s.fullAt = s.shadow.sent.Add(arrivalBound + seconds(max(l.flood.level, l.bucket.level(s.shadow.sent))/l.bucket.plan.Rate))
}

// emerge waits for the shadow's slot, and books on it what came of its call
// meanwhile.
func (h *shadow) emerge(w *waiter) {
	slot, _ := h.line.await(context.Background(), w)
	h.mu.Lock()
	h.waiting, h.slot = false, slot
	pending := h.pending
	h.mu.Unlock()
	for _, book := range pending {
		if slot != nil {
			book(slot)
		}
	}
}

// end books how the call ended, on the line at once and on the shadow's slot in
// its time.
func (h *shadow) end(o Outcome) {
	h.mu.Lock()
	again := h.ended
	h.ended = true
	h.mu.Unlock()
	if again {
		return
	}
	h.flooded = h.line.watched(h, o) || h.flooded
	h.book(func(slot *Slot) {
		if o == unsent {
			slot.Unsent()
		} else {
			slot.end(func(now time.Time, l *line) { l.answeredLocked(now, slot, l.lessonLocked(h, o)) })
		}
	})
}

// done books that nothing of the call is under way any more.
func (h *shadow) done() { h.book((*Slot).Done) }

// book does something to the shadow's slot as long after that was granted as the
// call has taken by now.
func (h *shadow) book(do func(*Slot)) {
	took := time.Since(h.sent)
	later := func(slot *Slot) {
		if wait := time.Until(slot.sent.Add(took)); wait > 0 {
			time.AfterFunc(wait, func() { do(slot) })
		} else {
			do(slot)
		}
	}
	h.mu.Lock()
	if h.waiting {
		h.pending = append(h.pending, later)
	}
	slot := h.slot
	h.mu.Unlock()
	if slot != nil {
		later(slot)
	}
}

// floodedLocked reports whether more was let go than the bucket holds.
func (l *line) floodedLocked() bool { return l.flood.level > float64(l.bucket.size()) }

// watched learns from the end of a call what does not depend on its shadow. It
// reports whether the upstream was flooded then: of calls that are under way
// together, nobody knows which arrived first.
func (l *line) watched(h *shadow, o Outcome) (flooded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flood.answered++
	if l.bucket == nil {
		return false
	}
	l.flood.drain(time.Now(), l.bucket.plan)
	flooded = l.floodedLocked()
	switch o {
	case unsent:
		l.flood.level = max(0, l.flood.level-1)
	case Accepted:
		l.flood.level = min(l.flood.level, float64(l.bucket.plan.Burst+l.flood.calls-h.earlier))
		l.bucket.learn.accepted()
	}
	return flooded
}

// lessonLocked is what an outcome teaches of a call that has a shadow.
func (l *line) lessonLocked(h *shadow, o Outcome) Outcome {
	waited := h.slot.sent.After(h.sent)
	if o == Refused && l.bucket != nil && (h.flooded || waited && l.bucket.lowered()) {
		return NoAnswer
	}
	return o
}

// A flood is the upstream's counter as all calls make it that an observer let
// go, if refused calls count too. Where they do not, an accepted call shows that
// the counter was at the burst at the most; later it counted no more calls than
// were unanswered when that one was sent, or sent since.
type flood struct {
	level    float64
	at       time.Time
	calls    int // that were let go
	answered int
}

func (f *flood) drain(now time.Time, p Plan) {
	f.level = max(0, f.level-now.Sub(f.at).Seconds()*p.Rate)
	f.at = now
}

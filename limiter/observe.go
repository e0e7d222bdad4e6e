package limiter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Observing runs the same code as enforcing. A call is let go at once, and its
// shadow asks for a slot instead of it: the shadow is rejected, granted or queued
// by the same rules as the call would be, and holds its slot for as long as the
// call took. What the slot reports of the call was decided on its arrival.
//
// The upstream answers more calls, and sooner, than enforcing would have sent.
// What it accepts is our share, whichever calls these are. But a refusal counts
// only where enforcing would have met it too: not while we have let more calls go
// than the bucket holds (see unpaced), and not, at a lowered rate, for a call
// whose shadow had to wait.

// A shadow is the part of a Slot that only an observing limiter uses.
type shadow struct {
	line     *line
	sent     time.Time // the call
	earlier  int       // calls that were answered before it was sent
	overfull bool      // more calls were in flight than the bucket holds

	mu      sync.Mutex
	waiting bool
	slot    *Slot         // nil: it waits, or was rejected
	pending []func(*Slot) // to be done when a shadow that waits gets its slot
	ended   bool          // the call was answered, or not sent
}

// observe lets a call go, and its shadow ask for a slot. Its caller has pinned
// the line; the pin passes to the shadow.
func (l *line) observe(r Request) (*Slot, error) {
	w, wait, err := l.enter(r)
	var rejection *Rejection
	if errors.As(err, &rejection) {
		l.pins.Add(-1)
		if rejection.Reason == Draining {
			return nil, rejection
		}
	}
	h := &shadow{line: l, waiting: wait > 0}
	s := &Slot{line: l, shadow: h, EstimatedWait: wait, WouldReject: rejection}
	l.letGo(s)
	l.persistence.save(l.upstream, s)
	switch {
	case rejection != nil:
	case h.waiting:
		go h.await(w)
	default:
		h.slot, _ = l.await(context.Background(), w)
		h.sent = h.slot.sent
	}
	return s, nil
}

// letGo counts a call that is sent without a slot of its own.
func (l *line) letGo(s *Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.shadow.sent = time.Now()
	l.unpaced.calls++
	s.shadow.earlier = l.unpaced.answered
	if l.bucket == nil {
		return
	}
	l.unpaced.drain(s.shadow.sent, l.bucket.plan)
	l.unpaced.level++
	s.shadow.overfull = l.overfullLocked()
	s.bucket, s.rate = l.bucket, l.bucket.plan.Rate
	s.fullAt = s.shadow.sent.Add(arrivalBound + seconds(max(l.unpaced.level, l.bucket.level(s.shadow.sent))/l.bucket.plan.Rate))
}

// await waits for the shadow's slot, and then does what came of its call in the
// meantime.
func (h *shadow) await(w *waiter) {
	slot, _ := h.line.await(context.Background(), w)
	h.mu.Lock()
	h.waiting, h.slot = false, slot
	pending := h.pending
	h.mu.Unlock()
	for _, do := range pending {
		if slot != nil {
			do(slot)
		}
	}
}

// end reports how the call ended: to the line at once, and through the shadow's
// slot when its time has come.
func (h *shadow) end(o Outcome) {
	h.mu.Lock()
	again := h.ended
	h.ended = true
	h.mu.Unlock()
	if again {
		return
	}
	h.overfull = h.line.observed(h, o) || h.overfull
	h.later(func(slot *Slot) {
		if o == unsent {
			slot.Unsent()
		} else {
			slot.end(func(now time.Time, l *line) { l.answeredLocked(now, slot, l.shadowOutcomeLocked(h, o)) })
		}
	})
}

// done reports that nothing of the call is in flight any more.
func (h *shadow) done() { h.later((*Slot).Done) }

// later does something with the shadow's slot, as long after that was granted as
// the call has taken by now.
func (h *shadow) later(do func(*Slot)) {
	took := time.Since(h.sent)
	inTime := func(slot *Slot) {
		if wait := time.Until(slot.sent.Add(took)); wait > 0 {
			time.AfterFunc(wait, func() { do(slot) })
		} else {
			do(slot)
		}
	}
	h.mu.Lock()
	if h.waiting {
		h.pending = append(h.pending, inTime)
	}
	slot := h.slot
	h.mu.Unlock()
	if slot != nil {
		inTime(slot)
	}
}

// overfullLocked reports whether more calls were let go than the bucket holds.
func (l *line) overfullLocked() bool { return l.unpaced.level > float64(l.bucket.size()) }

// observed learns from the end of a call what does not depend on its shadow. It
// reports whether more calls were let go by then than the bucket holds: of calls
// that are in flight together, nobody knows which arrived first.
func (l *line) observed(h *shadow, o Outcome) (overfull bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unpaced.answered++
	if l.bucket == nil {
		return false
	}
	l.unpaced.drain(time.Now(), l.bucket.plan)
	overfull = l.overfullLocked()
	switch o {
	case unsent:
		l.unpaced.level = max(0, l.unpaced.level-1)
	case Accepted:
		l.unpaced.level = min(l.unpaced.level, float64(l.bucket.plan.Burst+l.unpaced.calls-h.earlier))
		l.bucket.adaptive.accepted(1)
	}
	return overfull
}

// shadowOutcomeLocked is what the outcome of a call shows of its shadow: nothing
// where enforcing would not have met the refusal.
func (l *line) shadowOutcomeLocked(h *shadow, o Outcome) Outcome {
	waited := h.slot.sent.After(h.sent)
	if o == Refused && l.bucket != nil && (h.overfull || waited && l.bucket.lowered()) {
		return NoAnswer
	}
	return o
}

// unpaced is the upstream's counter as the calls make it that an observing
// limiter lets go, if refused calls count too. Where they do not, an accepted call
// shows that the counter was at the burst at most; after that it counted no more
// calls than were unanswered when that call was sent, or were sent since.
type unpaced struct {
	level    float64
	at       time.Time
	calls    int // that were let go
	answered int
}

func (u *unpaced) drain(now time.Time, p Plan) {
	u.level = max(0, u.level-now.Sub(u.at).Seconds()*p.Rate)
	u.at = now
}

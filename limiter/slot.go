package limiter

import "time"

// An Outcome is what an answer tells of the upstream's state.
type Outcome int

const (
	NoAnswer   Outcome = iota // sent, and no answer came that tells anything
	Accepted                  // taken
	Refused                   // over the rate limit: not taken
	Overloaded                // blocked as a whole: not taken
)

// unsent is how a slot ends whose call never left.
const unsent Outcome = -1

// A Slot is the right to send one call now. Its holder calls Answered or
// Unsent, once, and Done; later calls do nothing.
type Slot struct {
	// What enforcing would have done, from an observing limiter: the wait, as
	// estimated on arrival, or the Rejection.
	EstimatedWait time.Duration
	WouldReject   *Rejection

	line   *line
	sent   time.Time
	fullAt time.Time // when the bucket is full again, as it was when the slot was taken
	bucket *bucket   // that took it; nil: none
	added  float64   // what the bucket had taken by then, with this one
	seen   bool      // answered, or presumed to have arrived
	probe  bool      // of the breaker
	place  bool      // one of the places for calls under way is held
	ended  bool
	shadow *shadow // of a call that an observing limiter let go
}

// Answered tells what came of a call that was sent; NoAnswer too, when nothing
// more will come.
func (s *Slot) Answered(o Outcome) {
	if s.shadow != nil {
		s.shadow.end(o)
		return
	}
	s.end(func(now time.Time, l *line) { l.answeredLocked(now, s, o) })
}

// Done says that nothing of the call is under way any more: the last byte of
// its answer has passed, or it was dropped. Until then it holds one of the
// places that Config.InFlight allows.
func (s *Slot) Done() {
	if s.shadow != nil {
		s.shadow.done()
		return
	}
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	s.line.doneLocked(s)
}

// Unsent gives the slot back, and its place: nothing of the call left for the
// upstream.
func (s *Slot) Unsent() {
	if s.shadow != nil {
		s.shadow.end(unsent)
		return
	}
	s.end(func(now time.Time, l *line) { l.giveBackLocked(now, s) })
}

func (s *Slot) end(book func(time.Time, *line)) {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	book(time.Now(), l)
	l.nudge()
	l.pins.Add(-1)
}

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

// A Slot is the right to send one call now. Its holder calls Answered or
// Unsent, once; later calls do nothing.
type Slot struct {
	// What an observing limiter would have done: the wait, and the Rejection.
	Foretold time.Duration
	Would    *Rejection

	line   *line
	sent   time.Time
	fullAt time.Time // when the bucket is full again, as it was when the slot was taken
	seen   bool      // by the upstream, as far as the bucket is concerned
	probe  bool      // of the breaker
	ended  bool
}

// Answered tells what came of a call that was sent; NoAnswer too, when nothing
// more will come.
func (s *Slot) Answered(o Outcome) {
	s.end(func(now time.Time, l *line) { l.answeredLocked(now, s, o) })
}

// Unsent gives the slot back: nothing of the call left for the upstream.
func (s *Slot) Unsent() {
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

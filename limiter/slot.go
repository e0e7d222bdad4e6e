package limiter

import "time"

// An Outcome is what an answer shows of the upstream's state.
type Outcome int

const (
	NoAnswer   Outcome = iota // the call was sent, and no answer came that shows anything
	Accepted                  // the upstream took the call
	Refused                   // it did not, for its rate limit
	Overloaded                // it did not: it is blocked as a whole
)

// unsent is how a slot ends whose call was never sent.
const unsent Outcome = -1

// A Slot is the right to send one call now. Its holder calls Answered or
// Unsent, once, and Done; later calls do nothing.
type Slot struct {
	// What enforcing would have done, from an observing limiter: the wait, as
	// estimated on arrival, or the Rejection.
	EstimatedWait time.Duration
	WouldReject   *Rejection

	line    *line
	group   string // of the call that got it
	sent    time.Time
	fullAt  time.Time // when the bucket is full again, as of taking the slot
	rate    float64   // of the bucket's plan by then
	bucket  *bucket   // that the slot was taken from; nil: none
	added   float64   // bucket.added by then, this slot included
	arrived bool      // answered, or presumed to have arrived
	probe   bool      // of the breaker
	counted bool      // in line.inFlight
	ended   bool
	shadow  *shadow // of a call that an observing limiter let go
}

// Answered reports what came of a call that was sent: NoAnswer too, when nothing
// more will come.
func (s *Slot) Answered(o Outcome) {
	if s.shadow != nil {
		s.shadow.end(o)
		return
	}
	s.end(func(now time.Time, l *line) { l.answeredLocked(now, s, o) })
}

// Done reports that nothing of the call is in flight any more: the last byte of
// its answer has passed, or it was dropped. Until then it is one of the calls that
// Config.InFlight bounds.
func (s *Slot) Done() {
	if s.shadow != nil {
		s.shadow.done()
		return
	}
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	s.line.doneLocked(s)
}

// slotLife is how long after it was given a slot of a shared bucket may be used. It is
// longer than making a connection takes, mostly, and than calls are held to be on their
// way: what matters is a process that stood still.
const slotLife = 5 * time.Second

// Expired reports whether it is too late to use the slot: the bucket has drained since,
// and other replicas have used what drained. It should be given back then.
func (s *Slot) Expired() bool {
	return s != nil && s.shadow == nil && s.line.sharing != nil && time.Since(s.sent) > slotLife
}

// Unsent gives the slot back: nothing of the call was sent to the upstream.
func (s *Slot) Unsent() {
	if s.shadow != nil {
		s.shadow.end(unsent)
		return
	}
	s.end(func(now time.Time, l *line) { l.giveBackLocked(now, s) })
}

func (s *Slot) end(report func(time.Time, *line)) {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	now := time.Now()
	report(now, l)
	l.stirLocked(now)
	l.pins.Add(-1)
}

package limiter

import (
	"fmt"
	"time"
)

// A Reason says why a call got no slot. Logs, metrics and errors use these
// words; they are defined here alone.
type Reason string

const (
	QueueFull     Reason = "queue_full"     // as many calls wait as Config.Depth allows
	QueueWait     Reason = "queue_wait"     // the wait would be, or was, longer than the caller accepts
	Overload      Reason = "overload"       // the upstream is blocked as a whole, see breaker
	OperatingTime Reason = "operating_time" // the method's operating time is used up, see package operating
	Draining      Reason = "draining"       // the limiter was closed
)

// A Rejection says that a call got no slot. It was not sent.
type Rejection struct {
	Reason Reason

	// RetryAfter is when asking again is worth while. Where it is a place in the
	// queue that was missing, it is a minute at most, and each caller's is later
	// than those of the callers who were rejected before.
	RetryAfter time.Duration

	// Of a call rejected for QueueWait: how long it would have waited, 0 if it
	// waited in vain, and how long its caller accepts to wait.
	EstimatedWait, LongestWait time.Duration
}

func draining() *Rejection { return &Rejection{Reason: Draining, RetryAfter: time.Second} }

func (r *Rejection) Error() string {
	return fmt.Sprintf("no slot (%s), try again in %v", r.Reason, r.RetryAfter)
}

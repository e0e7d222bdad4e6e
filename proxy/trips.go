package proxy

import (
	"context"
	"sync"
)

// trips are the RoundTrips of an attempt, one after another. Each has a context of its own,
// which ends with the attempt. One context within another would do the same, at the price
// of a thirtieth of a call's memory.
type trips struct {
	of *exchange

	mu      sync.Mutex
	isOver  bool
	cause   error
	endTrip context.CancelCauseFunc // of the last one
}

// next returns the context of the next RoundTrip. Only the exchange is taken over from the
// caller's context: ReverseProxy's hook in it would pass on every informational answer,
// however many come.
func (t *trips) next() context.Context {
	t.stop(nil)
	ctx, end := context.WithCancelCause(t.of.in(context.Background()))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endTrip = end
	if t.isOver {
		end(t.cause)
	}
	return ctx
}

// stop ends the RoundTrip that is under way. Another one may follow.
func (t *trips) stop(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.endTrip != nil {
		t.endTrip(cause)
	}
}

// cancel ends the attempt. Only the first cause counts.
func (t *trips) cancel(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isOver {
		t.isOver, t.cause = true, cause
	}
	if t.endTrip != nil {
		t.endTrip(t.cause)
	}
}

package proxy

import (
	"context"
	"errors"
	"testing"
)

// A RoundTrip that is stopped does not stop the next one. The end of the attempt ends the
// one under way and all that follow, by its first cause.
func TestTrips(t *testing.T) {
	stopped, first, second := errors.New("stopped"), errors.New("first"), errors.New("second")
	ex := new(exchange)
	trips := trips{of: ex}
	one := trips.next()
	trips.stop(stopped)
	two := trips.next()
	if cause := context.Cause(one); !errors.Is(cause, stopped) {
		t.Errorf("got %v as the cause of the first, want %v", cause, stopped)
	}
	if two.Err() != nil || exchangeOf(two) != ex {
		t.Errorf("got %v of the second, want one that goes on, of the exchange", two.Err())
	}
	trips.cancel(first)
	trips.cancel(second)
	trips.stop(stopped)
	for name, ctx := range map[string]context.Context{"under way": two, "that follows": trips.next()} {
		if cause := context.Cause(ctx); !errors.Is(cause, first) {
			t.Errorf("got %v as the cause of the one %s, want %v", cause, name, first)
		}
	}
}

// The context of a RoundTrip that failed by itself ends when the next one begins.
func TestTripsLeaveNothing(t *testing.T) {
	trips := trips{of: new(exchange)}
	one := trips.next()
	if trips.next(); one.Err() == nil {
		t.Error("got a context that goes on, want none")
	}
}

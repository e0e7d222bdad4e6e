package limiter

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// Replicas whose clocks are wrong keep the limit, since the store has a clock of its
// own: here it differs from theirs by years.
func TestWrongClocks(t *testing.T) {
	for name, off := range map[string]time.Duration{"behind the store's": 10 * 365 * 24 * time.Hour, "ahead of the store's": -10 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				f.memory.now = func() time.Time { return time.Now().Add(off) }
				took := f.all(150)
				if longest := 5300 * time.Millisecond; took > longest {
					t.Errorf("got %v, want %v at most", took, longest)
				}
				f.wantNoneRefused()
				f.upstream.level = 70 // another program: what refusals teach is shared too
				f.all(30)
				if f.upstream.refused > 3 {
					t.Errorf("got %d refusals, want 3 at most", f.upstream.refused)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// Nothing that a replica and the store tell each other is an instant, which would mean
// another one by the other's clock.
func TestReportsHaveNoInstants(t *testing.T) {
	for _, message := range []reflect.Type{reflect.TypeFor[Report](), reflect.TypeFor[Reply](), reflect.TypeFor[Knowledge]()} {
		for field := range message.Fields() {
			if field.Type == reflect.TypeFor[time.Time]() {
				t.Errorf("got the instant %s.%s, want a duration", message.Name(), field.Name)
			}
		}
	}
}

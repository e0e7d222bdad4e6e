package limiter

import (
	"errors"
	"testing"
	"time"
)

// A fakePersister saves nothing, and fails with err.
type fakePersister struct{ err error }

func (fakePersister) Load(string) (time.Time, bool)           { return time.Time{}, false }
func (f fakePersister) Save(string, time.Time, float64) error { return f.err }

// A series of failures to save is logged once, and the next series again.
func TestFailureToSaveIsLoggedOnce(t *testing.T) {
	logged := 0
	p := &persistence{warn: func(string, ...any) { logged++ }}
	slot := &Slot{bucket: &bucket{plan: Standard}}
	full := errors.New("no space left on device")
	for i, c := range []struct {
		err  error
		want int
	}{{nil, 0}, {full, 1}, {full, 1}, {nil, 1}, {full, 2}} {
		p.persister = fakePersister{c.err}
		if p.save("acme.example", slot); logged != c.want {
			t.Errorf("after save %d: got %d lines, want %d", i, logged, c.want)
		}
	}
}

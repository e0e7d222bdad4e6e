package limiter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// WouldReject says what Acquire would do at once, and asking changes nothing.
func TestWouldReject(t *testing.T) {
	would := func(l *Limiter, r Request) Reason {
		if refused := l.WouldReject(r); refused != nil {
			return refused.Reason
		}
		return ""
	}
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 1)
		defer l.Close()
		for range 3 {
			if got := would(l, patient); got != "" {
				t.Fatalf("an upstream at rest would reject: %s", got)
			}
		}
		if len(l.States()) != 0 {
			t.Error("asking about an upstream begins a line for it")
		}
		send(t.Context(), l, patient)
		if got := would(l, Request{Upstream: "u"}); got != QueueWait {
			t.Errorf("without patience: %q, want %s", got, QueueWait)
		}
		go send(t.Context(), l, patient)
		synctest.Wait()
		if got := would(l, patient); got != QueueFull {
			t.Errorf("with a full queue: %q, want %s", got, QueueFull)
		}
		time.Sleep(5 * time.Second)
		if got := would(l, patient); got != "" {
			t.Errorf("when the queue is empty again: %s", got)
		}

		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Overloaded)
		if got := would(l, patient); got != Overload {
			t.Errorf("while the upstream is blocked: %q, want %s", got, Overload)
		}
		time.Sleep(probeInterval)
		would(l, patient)
		if _, err := l.Acquire(t.Context(), patient); err != nil {
			t.Errorf("asking took the place of the probe: %v", err)
		}

		l.Close()
		for _, upstream := range []string{"u", "another"} {
			if got := would(l, Request{Upstream: upstream}); got != Draining {
				t.Errorf("%s of a closed limiter: %q, want %s", upstream, got, Draining)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Plan: func(string) Plan { return Plan{Rate: 1, Burst: 1} }, Depth: 1, Observe: true})
		defer l.Close()
		for range 5 {
			l.Acquire(t.Context(), patient)
		}
		if got := would(l, Request{Upstream: "u"}); got != "" {
			t.Errorf("an observing limiter would reject: %s", got)
		}
	})
}

// Calls that are rejected together are told to come again one after the other,
// as places open at the rate, and not later than in a minute: told the same
// time, all would come at once and all but two a second be rejected again.
func TestRejectedCallsComeAgainInTurn(t *testing.T) {
	for reason, c := range map[Reason]struct {
		depth int
		wait  time.Duration
	}{
		QueueFull: {5, patient.Wait},
		QueueWait: {1000, time.Second},
	} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newTest(Standard, c.depth)
				defer l.Close()
				for range 49 {
					send(t.Context(), l, patient)
				}
				for range 5 {
					go l.Acquire(t.Context(), patient)
				}
				synctest.Wait()
				r := patient
				r.Wait = c.wait
				var last time.Duration
				for i := range 437 {
					_, err := l.Acquire(t.Context(), r)
					var rejected *Rejection
					if !errors.As(err, &rejected) {
						t.Fatalf("call %d: got %v, want a rejection", i, err)
					}
					after := rejected.RetryAfter
					if least := min(time.Duration(i)*time.Second/2, maxRetryAfter); after < last || after < least || after > maxRetryAfter {
						t.Fatalf("call %d: told %v after %v, want %v to %v", i, after, last, least, maxRetryAfter)
					}
					last = after
				}
				time.Sleep(2 * time.Minute)
				if refused := l.line("u").rejectionLocked(time.Now(), reason, time.Second); refused.RetryAfter != time.Second {
					t.Errorf("when all places have opened: told %v, want 1s", refused.RetryAfter)
				}
			})
		})
	}
}

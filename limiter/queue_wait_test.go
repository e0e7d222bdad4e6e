package limiter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The wait is estimated on arrival: a call that would wait too long is rejected at
// once, with a time after which its wait would be short enough.
func TestCallThatWouldWaitTooLongIsRejectedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		for range 49 + 60 {
			go send(ctx, l, patient)
		}
		synctest.Wait()
		start := time.Now()
		_, err := l.Acquire(ctx, Request{Upstream: "u", Wait: 25 * time.Second})
		if reason(err) != QueueWait || time.Since(start) > 0 {
			t.Errorf("got %v after %v, want %s at once", err, time.Since(start), QueueWait)
		}
		var r *Rejection
		if errors.As(err, &r) && (r.RetryAfter < 5*time.Second || r.RetryAfter > 6*time.Second) {
			t.Errorf("got a Retry-After of %v, want 5 to 6 s: the wait is 30.5 s and 25 s are accepted", r.RetryAfter)
		}
		if err := send(ctx, l, Request{Upstream: "u", Wait: 31 * time.Second}); err != nil {
			t.Errorf("a call that accepts 31 s, where the wait is 30.5 s: got %v, want a slot", err)
		}
		cancel()
		synctest.Wait()
	})
}

// A call that accepts exactly the estimated wait is not rejected.
func TestCallThatAcceptsJustTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		for range 49 {
			send(t.Context(), l, patient)
		}
		var r *Rejection
		if _, err := l.Acquire(t.Context(), Request{Upstream: "u"}); !errors.As(err, &r) {
			t.Fatalf("got %v", err)
		}
		for missing, want := range map[time.Duration]Reason{0: "", 1: QueueWait} {
			got := l.WouldReject(Request{Upstream: "u", Wait: r.RetryAfter - missing})
			if (got == nil) != (want == "") {
				t.Errorf("a call that accepts %v less than the wait: got %v, want %q", missing, got, want)
			}
		}
	})
}

// WouldReject reports what Acquire would do at once, and changes nothing.
func TestWouldReject(t *testing.T) {
	would := func(l *Limiter, r Request) Reason {
		if rejection := l.WouldReject(r); rejection != nil {
			return rejection.Reason
		}
		return ""
	}
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 1)
		defer l.Close()
		for range 3 {
			if got := would(l, patient); got != "" {
				t.Fatalf("an upstream at rest: got %q, want no rejection", got)
			}
		}
		if len(l.States()) != 0 {
			t.Error("asking about an upstream began a line for it, want none")
		}
		send(t.Context(), l, patient)
		if got := would(l, Request{Upstream: "u"}); got != QueueWait {
			t.Errorf("a call that does not wait: got %q, want %s", got, QueueWait)
		}
		go send(t.Context(), l, patient)
		synctest.Wait()
		if got := would(l, patient); got != QueueFull {
			t.Errorf("with a full queue: got %q, want %s", got, QueueFull)
		}
		time.Sleep(5 * time.Second)
		if got := would(l, patient); got != "" {
			t.Errorf("when the queue is empty again: got %q, want no rejection", got)
		}

		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Overloaded)
		if got := would(l, patient); got != Overload {
			t.Errorf("while the upstream is blocked: got %q, want %s", got, Overload)
		}
		time.Sleep(probeInterval)
		would(l, patient)
		if _, err := l.Acquire(t.Context(), patient); err != nil {
			t.Errorf("got %v, want a slot: asking must not count as the probe", err)
		}

		l.Close()
		for _, upstream := range []string{"u", "another"} {
			if got := would(l, Request{Upstream: upstream}); got != Draining {
				t.Errorf("%s of a closed limiter: got %q, want %s", upstream, got, Draining)
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
			t.Errorf("an observing limiter: got %q, want no rejection", got)
		}
	})
}

// Calls that are rejected together are asked to come again one after the other, as
// places open at the rate, and not later than in a minute. With the same time for
// all they would come together, and all but two per second would be rejected again.
func TestRejectedCallsComeAgainOneAfterTheOther(t *testing.T) {
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
						t.Fatalf("call %d: got a Retry-After of %v after one of %v, want %v to %v", i, after, last, max(last, least), maxRetryAfter)
					}
					last = after
				}
				time.Sleep(2 * time.Minute)
				if rejection := l.line("u").rejectionLocked(time.Now(), reason, time.Second); rejection.RetryAfter != time.Second {
					t.Errorf("when all places have opened: got a Retry-After of %v, want 1s", rejection.RetryAfter)
				}
			})
		})
	}
}

package limiter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// While an upstream is blocked, one call a minute reaches it. The first other answer
// lets all calls through.
func TestBreakerSendsOneProbeAMinute(t *testing.T) {
	var b breaker
	now := epoch
	if r := b.enter(now); r != nil {
		t.Fatalf("a new breaker: got %v, want no rejection", r)
	}
	b.answered(now, now, true)
	for minute := 1; minute <= 5; minute++ {
		sent := 0
		for range 60 {
			now = now.Add(time.Second)
			r := b.enter(now)
			if r == nil {
				sent++
				b.answered(now, now, true)
			} else if r.Reason != Overload || r.RetryAfter <= 0 || r.RetryAfter > time.Minute {
				t.Fatalf("got %v, want a rejection for %s within a minute", r, Overload)
			}
		}
		if sent != 1 {
			t.Errorf("minute %d: got %d calls sent, want 1", minute, sent)
		}
	}
	now = now.Add(time.Minute)
	if b.enter(now) != nil {
		t.Fatal("got no probe, want one")
	}
	b.answered(now.Add(time.Second), now, false)
	if b.open() || b.enter(now.Add(2*time.Second)) != nil {
		t.Error("the breaker is open after a good answer, want it closed")
	}
}

// The Retry-After of a Rejection is the time until the next probe.
func TestBreakerAsksToComeAgainForTheProbe(t *testing.T) {
	var b breaker
	b.answered(epoch, epoch, true)
	now := epoch.Add(17 * time.Second)
	r := b.enter(now)
	if r == nil || b.enter(now.Add(r.RetryAfter-1)) == nil || b.enter(now.Add(r.RetryAfter)) != nil {
		t.Errorf("got %v, want the time until the probe, neither more nor less", r)
	}
}

// After a probe that was not answered, the next one follows a minute later.
func TestBreakerAfterAProbeWithoutAnAnswer(t *testing.T) {
	var b breaker
	b.answered(epoch, epoch, true)
	if b.enter(epoch.Add(time.Minute)) != nil || b.enter(epoch.Add(119*time.Second)) == nil || b.enter(epoch.Add(2*time.Minute)) != nil {
		t.Error("want probes at 60 and 120 s")
	}
}

// The answers to calls that were in flight when the block came show nothing about
// its end.
func TestBreakerIgnoresEarlierCalls(t *testing.T) {
	var b breaker
	b.answered(epoch.Add(time.Second), epoch.Add(900*time.Millisecond), true)
	b.answered(epoch.Add(2*time.Second), epoch.Add(500*time.Millisecond), false)
	if !b.open() {
		t.Error("a good answer to an earlier call closed the breaker, want it open")
	}
	b.answered(epoch.Add(50*time.Second), epoch, true)
	if b.enter(epoch.Add(61*time.Second)) != nil {
		t.Error("the probe was rejected after a late answer, want it let through")
	}
}

// When a probe was not sent, the next call may be the probe at once.
func TestProbeThatWasNotSentIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 100)
		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Overloaded)
		if _, err := l.Acquire(t.Context(), patient); reason(err) != Overload {
			t.Fatalf("got %v, want %s", err, Overload)
		}
		time.Sleep(time.Minute)
		gone, leave := context.WithCancel(t.Context())
		leave()
		l.Acquire(gone, patient)
		s, err := l.Acquire(t.Context(), patient)
		if err != nil {
			t.Fatalf("after a caller who had left: got %v, want a slot", err)
		}
		if _, err := l.Acquire(t.Context(), patient); reason(err) != Overload {
			t.Errorf("beside the probe: got %v, want %s", err, Overload)
		}
		s.Unsent()
		s, err = l.Acquire(t.Context(), patient)
		if err != nil {
			t.Fatalf("after a slot that was given back: got %v, want a slot", err)
		}
		s.Answered(Accepted)
		if _, err := l.Acquire(t.Context(), patient); err != nil {
			t.Errorf("after a good answer: got %v, want a slot", err)
		}
	})
}

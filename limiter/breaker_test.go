package limiter

import (
	"testing"
	"time"
)

// While an upstream is overloaded one call a minute reaches it; the first other
// answer lets all through.
func TestBreaker(t *testing.T) {
	var b breaker
	now := epoch
	if r := b.enter(now); r != nil {
		t.Fatalf("closed, but %v", r)
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
				t.Fatalf("%v", r)
			}
		}
		if sent != 1 {
			t.Errorf("minute %d: %d calls went", minute, sent)
		}
	}
	now = now.Add(time.Minute)
	if b.enter(now) != nil {
		t.Fatal("no probe")
	}
	b.answered(now.Add(time.Second), now, false)
	if b.open() || b.enter(now.Add(2*time.Second)) != nil {
		t.Error("not closed by a good answer")
	}
}

// The Retry-After of a refusal leads to the next probe.
func TestBreakerRetryAfter(t *testing.T) {
	var b breaker
	b.answered(epoch, epoch, true)
	now := epoch.Add(17 * time.Second)
	r := b.enter(now)
	if r == nil || b.enter(now.Add(r.RetryAfter-1)) == nil || b.enter(now.Add(r.RetryAfter)) != nil {
		t.Errorf("%v is not when the probe goes", r)
	}
}

// A probe without an answer is followed by another a minute later, not sooner.
func TestBreakerProbeUnanswered(t *testing.T) {
	var b breaker
	b.answered(epoch, epoch, true)
	if b.enter(epoch.Add(time.Minute)) != nil || b.enter(epoch.Add(119*time.Second)) == nil || b.enter(epoch.Add(2*time.Minute)) != nil {
		t.Error("want probes at 60 and 120 s")
	}
}

// Calls that were under way when the block came say nothing about its end,
// whichever way they were answered.
func TestBreakerStragglers(t *testing.T) {
	var b breaker
	b.answered(epoch.Add(time.Second), epoch.Add(900*time.Millisecond), true)
	b.answered(epoch.Add(2*time.Second), epoch.Add(500*time.Millisecond), false)
	if !b.open() {
		t.Error("a good answer to an earlier call closed it")
	}
	b.answered(epoch.Add(50*time.Second), epoch, true)
	if b.enter(epoch.Add(61*time.Second)) != nil {
		t.Error("a late refusal put the probe off")
	}
}

package limiter

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// crowd calls so many other upstreams that every idle line is dropped.
func crowd(t *testing.T, l *Limiter, n int, pause time.Duration) {
	t.Helper()
	for i := range n {
		time.Sleep(pause)
		send(t.Context(), l, Request{Upstream: fmt.Sprint("other ", i), Wait: time.Hour})
	}
}

// An upstream whose plan needs a wide margin refuses calls only in the first rounds,
// however many other upstreams are called in between.
func TestWidenedMarginIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan, _ := ParsePlan("20/50")
		l := newTest(plan, 1000)
		upstream := counter{plan: plan, tick: time.Now().Add(950 * time.Millisecond)}
		var refusedIn []int
		for round := range 20 {
			refused := upstream.refused
			for range 200 {
				s, err := l.Acquire(t.Context(), patient)
				if err != nil {
					t.Fatal(err)
				}
				if upstream.arrive(time.Now()) {
					s.Answered(Refused)
				} else {
					s.Answered(Accepted)
				}
			}
			if upstream.refused > refused {
				refusedIn = append(refusedIn, round)
			}
			crowd(t, l, 400, time.Second)
			if _, known := l.State("u"); known {
				t.Fatal("the line was not dropped: this test shows nothing")
			}
		}
		if len(refusedIn) > 6 {
			t.Errorf("got refusals in the rounds %v, want them in 6 rounds at most", refusedIn)
		}
		if kept := l.margins.Len(); kept != 1 {
			t.Errorf("got %d margins, want 1: that of the upstream which refused", kept)
		}
	})
}

// An upstream is not forgotten while its last refusal has an effect on the next.
func TestRefusalIsNotForgottenTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		refuse := func() {
			s, err := l.Acquire(t.Context(), patient)
			if err != nil {
				t.Fatal(err)
			}
			s.Answered(Refused)
		}
		refuse()
		time.Sleep(100 * time.Second) // after the span of 55 s, before the second one is over
		crowd(t, l, 400, 0)
		refuse()
		if s, _ := l.State("u"); s.Rate == s.Plan.Rate {
			t.Errorf("got a rate of %v, want a lower one after the second refusal in two spans", s.Rate)
		}
	})
}

// Upstreams at rest are forgotten: a hundred thousand of them leave no trace and no
// goroutine.
func TestIdleUpstreamsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		before := runtime.NumGoroutine()
		for i := range 100_000 {
			send(t.Context(), l, Request{Upstream: fmt.Sprint(i), Wait: time.Second})
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(l.States()); n > 3*firstSweep {
			t.Errorf("got %d upstreams, want %d at most", n, 3*firstSweep)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("got %d goroutines more than before, want none", n-before)
		}
	})
}

// Upstreams at rest are looked for when many are known, not at each new one.
func TestIdleUpstreamsAreForgottenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		for i := range firstSweep {
			send(t.Context(), l, Request{Upstream: fmt.Sprint(i)})
			time.Sleep(time.Minute)
		}
		if n := len(l.lines); n != firstSweep {
			t.Errorf("got %d upstreams, want %d", n, firstSweep)
		}
		send(t.Context(), l, Request{Upstream: "one more"})
		if n := len(l.lines); n != 1 {
			t.Errorf("after one more: got %d upstreams, want 1", n)
		}
	})
}

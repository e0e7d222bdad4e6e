package limiter

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// crowd has so many other upstreams called that every idle line is dropped.
func crowd(t *testing.T, l *Limiter, n int, pause time.Duration) {
	t.Helper()
	for i := range n {
		time.Sleep(pause)
		send(t.Context(), l, Request{Upstream: fmt.Sprint("other ", i), Wait: time.Hour})
	}
}

// An upstream whose plan needs a wide margin refuses in the first rounds only,
// however many others are called in between.
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
				t.Fatal("the line is not dropped: nothing is tried here")
			}
		}
		if len(refusedIn) > 6 {
			t.Errorf("refused in the rounds %v", refusedIn)
		}
		if kept := l.margins.Len(); kept != 1 {
			t.Errorf("%d margins are remembered, want that of the one upstream which refused", kept)
		}
	})
}

// While a refusal has an effect on the next one, its upstream is not forgotten.
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
			t.Error("the second refusal in two spans lowers no rate: the first was forgotten")
		}
	})
}

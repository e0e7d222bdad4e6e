package limiter

import (
	"testing"
	"testing/synctest"
	"time"
)

// Plans of an owner's own making are never refused either, once the margin is
// at its worst: fractions of a call a second, and rates above the burst, which
// the counter does not let through.
func TestOddPlansAreNotRefused(t *testing.T) {
	for _, text := range []string{"2/1", "50/3", "1/1", "3/3", "0.5/1", "0.7/4", "2.5/2", "1.5/10", "2.4/10", "3.3/8"} {
		t.Run(text, func(t *testing.T) {
			plan, err := ParsePlan(text)
			if err != nil {
				t.Fatal(err)
			}
			for phase := range 40 {
				r := newRace(plan, time.Duration(phase)*25*time.Millisecond)
				r.bucket.margin = r.bucket.plan.worstMargin()
				r.bucket.setLevel(r.now, 0)
				for n := range 200 {
					r.send(0, time.Duration(n%3*phase)*10*time.Millisecond)
				}
				r.advance(r.now.Add(time.Minute))
				if r.counter.refused > 0 {
					t.Errorf("phase %d: %d of 200 calls are refused", phase, r.counter.refused)
				}
			}
		})
	}
}

// Where the rate is above the burst, the burst a second is what the counter lets
// through: it is the rate in force, no less is sent, and nothing is refused from
// the start.
func TestRateAboveBurst(t *testing.T) {
	for text, want := range map[string]float64{"2/1": 1, "50/3": 3, "2.5/2": 2, "0.5/1": 0.5, "3/3": 3, "10/100": 10} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan, _ := ParsePlan(text)
				l := newTest(plan, 10)
				upstream := counter{plan: plan, tick: time.Now().Add(300 * time.Millisecond)}
				began, sent := time.Now(), 0
				for time.Since(began) < 100*time.Second {
					s, err := l.Acquire(t.Context(), patient)
					if err != nil {
						t.Fatal(err)
					}
					sent++
					if plan.Capped() != plan {
						upstream.arrive(time.Now())
					}
					s.Answered(Accepted)
				}
				if s, _ := l.State("u"); s.Rate != want || s.Plan.Rate != want {
					t.Errorf("the rate in force is %g and the plan's %g, want %g", s.Rate, s.Plan.Rate, want)
				}
				if least := int(want*100) - 1; sent < least {
					t.Errorf("%d calls were sent in 100 s, want %d at least", sent, least)
				}
				if upstream.refused > 0 {
					t.Errorf("%d of %d calls were refused", upstream.refused, sent)
				}
			})
		})
	}
}

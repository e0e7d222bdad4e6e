package limiter

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ParsePlan reads a plan by its name or as RATE/BURST.
func TestParsePlan(t *testing.T) {
	for text, want := range map[string]Plan{
		"standard":       {Rate: 2, Burst: 50},
		"enterprise":     {Rate: 5, Burst: 250},
		"unlimited":      {},
		"10/100":         {Rate: 10, Burst: 100},
		"0.5/1":          {Rate: 0.5, Burst: 1},
		"0.01/1":         {Rate: 0.01, Burst: 1},
		"100000/1000000": {Rate: 100_000, Burst: 1_000_000},
	} {
		if got, err := ParsePlan(text); err != nil || got != want {
			t.Errorf("ParsePlan(%q): got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "2", "2/", "/50", "0/50", "-1/50", "NaN/50", "Inf/50", "2/0", "2/5.5", "2/50/1", "0.009/50", "100001/50", "2/1000001"} {
		if got, err := ParsePlan(text); err == nil || !strings.Contains(err.Error(), "RATE/BURST") {
			t.Errorf("ParsePlan(%q): got %v, %v; want an error that says what is allowed", text, got, err)
		}
	}
}

// The margin starts at the worst case where that is small, and where a second drains
// the whole burst, else at 2 % of the burst.
func TestFirstMargin(t *testing.T) {
	for p, want := range map[Plan]int{Standard: 1, Enterprise: 4, {20, 50}: 1, {20, 200}: 4, {10, 10}: 9, {9, 10}: 1} {
		if got := p.margin(); got != want {
			t.Errorf("%v: got a first margin of %d, want %d", p, got, want)
		}
	}
}

// However fast the plan, the margin leaves a call of the burst.
func TestMarginLeavesACall(t *testing.T) {
	p := Plan{Rate: 50, Burst: 3}
	margin := p.margin()
	for range 10 {
		margin = p.widen(margin)
	}
	if margin != 2 {
		t.Errorf("got a margin of %d in a burst of 3, want 2", margin)
	}
}

// A plan prints as it is written.
func TestPlanString(t *testing.T) {
	for _, text := range []string{"standard", "enterprise", "unlimited", "10/100", "0.5/3"} {
		p, err := ParsePlan(text)
		if err != nil || p.String() != text {
			t.Errorf("%q: got %q (%v), want the same", text, p, err)
		}
	}
}

// On plans that Bitrix24 does not document no call is refused either, once the margin
// is at its worst case: on fractions of a call per second, and on rates above the
// burst, of which the counter lets no more than the burst through.
func TestOddPlansAreNotRefused(t *testing.T) {
	for _, text := range []string{"2/1", "50/3", "1/1", "3/3", "0.5/1", "0.7/4", "2.5/2", "1.5/10", "2.4/10", "3.3/8"} {
		t.Run(text, func(t *testing.T) {
			plan, err := ParsePlan(text)
			if err != nil {
				t.Fatal(err)
			}
			for phase := range 40 {
				sim := newSimulation(plan, time.Duration(phase)*25*time.Millisecond)
				sim.bucket.margin = sim.bucket.plan.worstMargin()
				sim.bucket.setLevel(sim.now, 0)
				for n := range 200 {
					sim.send(0, time.Duration(n%3*phase)*10*time.Millisecond)
				}
				sim.advance(sim.now.Add(time.Minute))
				if sim.counter.refused > 0 {
					t.Errorf("phase %d: %d of 200 calls were refused, want none", phase, sim.counter.refused)
				}
			}
		})
	}
}

// Where the rate is above the burst, the counter lets the burst through in each
// second: that is the rate in force, no less is sent, and no call is refused.
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
					t.Errorf("got the rate %g on a plan of %g, want %g", s.Rate, s.Plan.Rate, want)
				}
				if least := int(want*100) - 1; sent < least {
					t.Errorf("got %d calls in 100 s, want %d at least", sent, least)
				}
				if upstream.refused > 0 {
					t.Errorf("%d of %d calls were refused, want none", upstream.refused, sent)
				}
			})
		})
	}
}

package limiter

import (
	"strings"
	"testing"
)

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
			t.Errorf("ParsePlan(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "2", "2/", "/50", "0/50", "-1/50", "NaN/50", "Inf/50", "2/0", "2/5.5", "2/50/1", "0.009/50", "100001/50", "2/1000001"} {
		if got, err := ParsePlan(text); err == nil || !strings.Contains(err.Error(), "RATE/BURST") {
			t.Errorf("ParsePlan(%q) = %v, %v; want an error that says what is allowed", text, got, err)
		}
	}
}

// The margin starts at the worst case where that is small, and where a second
// drains the whole burst; else at 2 % of the burst.
func TestFirstMargin(t *testing.T) {
	for p, want := range map[Plan]int{Standard: 1, Enterprise: 4, {20, 50}: 1, {20, 200}: 4, {10, 10}: 9, {9, 10}: 1} {
		if got := p.margin(); got != want {
			t.Errorf("%v starts with %d, want %d", p, got, want)
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
		t.Errorf("a margin of %d in a burst of 3", margin)
	}
}

// A plan prints as it is written.
func TestPlanString(t *testing.T) {
	for _, text := range []string{"standard", "enterprise", "unlimited", "10/100", "0.5/3"} {
		p, err := ParsePlan(text)
		if err != nil || p.String() != text {
			t.Errorf("%q prints as %q (%v)", text, p, err)
		}
	}
}

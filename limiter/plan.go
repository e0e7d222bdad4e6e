package limiter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Plan is the limit that an upstream keeps for us: a counter that every call
// raises by one, that falls by Rate once a second, and above Burst refuses.
// The zero Plan is unlimited.
type Plan struct {
	Rate  float64 // calls a second
	Burst int     // calls at once, at least 1
}

// The plans that Bitrix24 documents for its cloud.
var (
	Standard   = Plan{Rate: 2, Burst: 50}
	Enterprise = Plan{Rate: 5, Burst: 250}
	Unlimited  = Plan{}
)

// ParsePlan reads a plan by its name (standard, enterprise, unlimited) or as
// RATE/BURST, such as 10/100.
func ParsePlan(s string) (Plan, error) {
	switch s {
	case "standard":
		return Standard, nil
	case "enterprise":
		return Enterprise, nil
	case "unlimited":
		return Unlimited, nil
	}
	rate, burst, ok := strings.Cut(s, "/")
	r, errRate := strconv.ParseFloat(rate, 64)
	b, errBurst := strconv.Atoi(burst)
	if !ok || errRate != nil || errBurst != nil || !(r >= 0.01 && r <= 100_000) || b < 1 || b > 1_000_000 {
		return Plan{}, fmt.Errorf("%q is not a plan: write standard, enterprise, unlimited, or RATE/BURST such as 10/100, with 0.01 to 100000 calls per second and a burst of 1 to 1000000", s)
	}
	return Plan{Rate: r, Burst: b}, nil
}

// Unlimited tells whether the plan sets no limit at all.
func (p Plan) Unlimited() bool { return p.Rate == 0 }

// Capped is the plan as its counter keeps it. The counter never stands above
// Burst and never falls below zero, so what passes in a second is Burst at the
// most, however far it would fall: 50/3 is 3/3.
func (p Plan) Capped() Plan {
	p.Rate = min(p.Rate, float64(p.Burst))
	return p
}

func (p Plan) String() string {
	switch p {
	case Standard:
		return "standard"
	case Enterprise:
		return "enterprise"
	case Unlimited:
		return "unlimited"
	}
	return fmt.Sprintf("%g/%d", p.Rate, p.Burst)
}

// margin is how far below the burst a bucket stays.
//
// We pace calls evenly, the upstream drains its counter by a whole Rate once a
// second at a phase nobody tells. Just before such a tick it may hold what we
// sent over a full second and drained nothing of it: up to ceil(Rate)-1 calls
// more than an even drain would leave. That is 1 on the standard plan and 4 on
// Enterprise, and with it no phase can be refused (see bucket).
//
// On plans of an owner's own making the worst case may cost a good part of the
// burst (19 of 20/50), so there it starts at 2 % of the burst, and refusals
// teach the rest (see widen). Where a second drains the whole burst, the burst
// is worth nothing, and it starts at the worst.
func (p Plan) margin() int {
	worst := p.worstMargin()
	if p.Rate >= float64(p.Burst) {
		return worst
	}
	return min(worst, max(1, p.Burst/50))
}

// widen is the margin after a refusal that nothing explains: the rate was the
// plan's. It doubles up to the worst case. It never shrinks again, since a part
// of the burst is all it costs.
func (p Plan) widen(margin int) int { return min(2*margin, p.worstMargin()) }

func (p Plan) worstMargin() int {
	worst := math.Ceil(p.Rate)
	if math.Mod(p.Rate, 0.5) == 0 { // whole numbers and halves, see bucket
		worst--
	}
	return min(int(worst), p.Burst-1)
}

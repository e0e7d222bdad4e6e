package limiter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Plan is the limit that an upstream enforces on us: it counts our calls, its
// counter falls by Rate once a second, and above Burst it refuses calls. The zero
// Plan is unlimited.
type Plan struct {
	Rate  float64 // calls per second
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

// Unlimited reports whether the plan sets no limit at all.
func (p Plan) Unlimited() bool { return p.Rate == 0 }

// Capped is the plan as the upstream's counter makes it. The counter is never
// above Burst and never falls below zero, so no more than Burst calls pass in a
// second, however far it would fall: 50/3 is 3/3.
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
// We pace calls evenly, while the upstream drains its counter by a whole Rate once
// a second, and does not show when. Just before such a tick the counter may hold
// all that we sent in a full second: up to ceil(Rate)-1 calls more than an even
// drain would leave. That is 1 on the standard plan and 4 on Enterprise, and with
// this margin no call is refused, whatever the phase (see bucket).
//
// On plans that Bitrix24 does not document the worst case may cost a good part of
// the burst (19 of 20/50). There the margin starts at 2 % of the burst, and refusals
// widen it (see widen). Where a second drains the whole burst, there is no
// burst to lose, and it starts at the worst case.
func (p Plan) margin() int {
	worst := p.worstMargin()
	if p.Rate >= float64(p.Burst) {
		return worst
	}
	return min(worst, max(1, p.Burst/50))
}

// widen is the margin after a refusal at the plan's own rate, which nothing else
// explains: it doubles, up to the worst case. It never gets smaller again, since
// all it costs is a part of the burst.
func (p Plan) widen(margin int) int { return min(2*margin, p.worstMargin()) }

func (p Plan) worstMargin() int {
	worst := math.Ceil(p.Rate)
	if math.Mod(p.Rate, 0.5) == 0 { // whole numbers and halves, see bucket
		worst--
	}
	return min(int(worst), p.Burst-1)
}

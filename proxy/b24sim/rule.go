package b24sim

import (
	"math/rand/v2"
	"path"
	"time"
)

// rule is a Fault in a portal, with its state.
type rule struct {
	Fault
	struck int
	draw   *rand.Rand
}

func newRules(faults []Fault, seed uint64) []*rule {
	rules := make([]*rule, len(faults))
	for i, f := range faults {
		rules[i] = &rule{Fault: f, draw: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	return rules
}

// strikes reports whether the fault strikes one call of method.
func (r *rule) strikes(method string) bool {
	if match, _ := path.Match(r.pattern(), method); !match {
		return false
	}
	if r.First > 0 && r.struck >= r.First {
		return false
	}
	if r.Share > 0 && r.Share < 1 && r.draw.Float64() >= r.Share {
		return false
	}
	r.struck++
	return true
}

// strike returns how much slower the rules make one call of method, and the first
// other fault that strikes it. Most faults of whole answers do not apply inside
// a batch.
func strike(rules []*rule, method string, inner bool) (slow time.Duration, hit *Fault) {
	for _, r := range rules {
		if r.Kind != "slow" && (hit != nil || inner && !r.strikesInside()) {
			continue
		}
		if !r.strikes(method) {
			continue
		}
		if r.Kind == "slow" {
			d, _ := time.ParseDuration(r.Value)
			slow += d
			continue
		}
		hit = &r.Fault
	}
	return slow, hit
}

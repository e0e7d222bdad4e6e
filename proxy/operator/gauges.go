package operator

import (
	"math"

	"b24proxy/metrics"
)

// gaugesOf describes portals for metrics.
func gaugesOf(portals []Portal) []metrics.Portal {
	var all []metrics.Portal
	for _, p := range portals {
		all = append(all, p.gauges())
	}
	return all
}

func (p *Portal) gauges() metrics.Portal {
	m := metrics.Portal{
		Name: p.Upstream, Capacity: p.Capacity, BreakerOpen: p.Blocked,
		Level: p.Level, Burst: float64(p.Plan.Burst), Rate: p.Rate, PlanRate: p.Plan.Rate,
	}
	if p.Plan.Unlimited() {
		m.Burst, m.Rate, m.PlanRate = math.Inf(1), math.Inf(1), math.Inf(1)
	}
	if len(p.Budgets) > 0 {
		m.OperatingRatio = p.Budgets[0].Ratio
	}
	for urgency, n := range p.Waiting {
		m.Depth[metrics.PriorityOf(urgency)] += n
	}
	return m
}

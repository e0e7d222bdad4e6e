package operator

import (
	"math"
	"time"

	"b24proxy/metrics"
)

// gauges describes the portals in use for metrics.
func (o *Operator) gauges() []metrics.Portal {
	var all []metrics.Portal
	for _, p := range o.config.Portals(time.Now(), nil) {
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

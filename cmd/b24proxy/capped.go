package main

import (
	"b24proxy/limiter"
	"b24proxy/proxy"
)

// warnOfCapped says of each plan whose rate its counter does not let through
// which rate is in force.
func warnOfCapped(c proxy.Config) {
	warn := func(setting string, plan limiter.Plan) {
		if capped := plan.Capped(); capped != plan {
			c.Log.Warn("the rate is above the burst: the portal's counter falls once a second and never below zero, so no more calls a second pass than the burst has",
				"setting", setting, "plan", plan, "rate", capped.Rate)
		}
	}
	warn(prefix+"PLAN", c.Plan)
	for _, entry := range c.PortalPlans {
		warn(prefix+"PORTAL_PLANS: "+entry.Pattern.String(), entry.Value)
	}
}

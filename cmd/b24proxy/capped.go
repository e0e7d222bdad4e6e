package main

import (
	"b24proxy/limiter"
	"b24proxy/proxy"
)

// warnOfCapped logs, for each plan whose rate is above its burst, which rate is
// in force.
func warnOfCapped(c proxy.Config) {
	warn := func(setting string, plan limiter.Plan) {
		if capped := plan.Capped(); capped != plan {
			c.Log.Warn("the rate is above the burst: the portal's counter falls once a second and never below zero, so at most the burst passes per second",
				"setting", setting, "plan", plan, "rate", capped.Rate)
		}
	}
	warn(prefix+"PLAN", c.Plan)
	for _, entry := range c.PortalPlans {
		warn(prefix+"PORTAL_PLANS: "+entry.Pattern.String(), entry.Value)
	}
}

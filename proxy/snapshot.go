package proxy

import (
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/operator"
)

// shownBudgets bounds the budgets that operators see of a portal, the fullest.
const shownBudgets = 20

// snapshot is what operators see of the proxy as a whole.
func (p *Proxy) snapshot() operator.Snapshot {
	return operator.Snapshot{
		Listen: p.listen, IsDraining: p.calls.isClosed(),
		MemoryBytes: p.spool.memory.used.Load(), DiskBytes: p.spool.disk.used.Load(),
	}
}

// portals is what operators see of the portals in use, and of those that names has.
func (p *Proxy) portals(now time.Time, names []string) []operator.Portal {
	inUse := make(map[string]bool)
	var all []operator.Portal
	for _, s := range p.limiter.States() {
		inUse[s.Upstream] = true
		all = append(all, p.portal(now, s))
	}
	for _, name := range names {
		if !inUse[name] {
			resting := p.portal(now, p.resting(name))
			resting.IsAtRest = true
			all = append(all, resting)
		}
	}
	return all
}

func (p *Proxy) portal(now time.Time, s limiter.State) operator.Portal {
	return operator.Portal{State: s, Clients: p.limiter.Clients(s.Upstream), Budgets: p.budgets.List(now, s.Upstream, shownBudgets)}
}

// resting is the state of a portal that the limiter has forgotten: no call waits,
// and the portal counts no calls any more.
func (p *Proxy) resting(portal string) limiter.State {
	plan := p.config.PlanOf(portal)
	return limiter.State{Upstream: portal, Plan: plan, Rate: plan.Rate, Capacity: p.config.QueueDepth}
}

func (p *Proxy) operatorConfig() operator.Config {
	c := &p.config
	o := operator.Config{
		Version: c.Version, Revision: c.Revision, Mode: c.mode(), Store: operator.InMemory, AdminHost: c.AdminHost, PProf: c.PProf,
		MetricsPortals: c.MetricsPortals, Clients: c.Clients.Names(), Expected: expectedErrors(), Log: c.Log, LogAllCalls: c.LogAllCalls, Snapshot: p.snapshot, Portals: p.portals,
	}
	if c.StateFile != nil {
		o.Store = operator.InFile
	}
	return o
}

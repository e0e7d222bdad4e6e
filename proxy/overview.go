package proxy

import (
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/operator"
)

// shownBudgets bounds the budgets that operators see of a portal, the fullest.
const shownBudgets = 20

// An overview is what operators see of the proxy and of its portals.
type overview struct {
	config  *Config
	limiter *limiter.Limiter
	budgets *operating.Guard
	spool   *spool
	calls   *gate
	listen  string // where clients connect; set by Serve
}

// snapshot is what operators see of the proxy as a whole.
func (o *overview) snapshot() operator.Snapshot {
	return operator.Snapshot{
		Listen: o.listen, IsDraining: o.calls.isClosed(),
		MemoryBytes: o.spool.memory.used.Load(), DiskBytes: o.spool.disk.used.Load(),
	}
}

// portals is what operators see of the portals in use, and of those that names has.
func (o *overview) portals(now time.Time, names []string) []operator.Portal {
	inUse := make(map[string]bool)
	var all []operator.Portal
	for _, s := range o.limiter.States() {
		inUse[s.Upstream] = true
		all = append(all, o.portal(now, s))
	}
	for _, name := range names {
		if !inUse[name] {
			resting := o.portal(now, o.resting(name))
			resting.IsAtRest = true
			all = append(all, resting)
		}
	}
	return all
}

func (o *overview) portal(now time.Time, s limiter.State) operator.Portal {
	return operator.Portal{State: s, Clients: o.limiter.Clients(s.Upstream), Budgets: o.budgets.List(now, s.Upstream, shownBudgets)}
}

// resting is the state of a portal that the limiter has forgotten: no call waits,
// and the portal counts no calls any more.
func (o *overview) resting(portal string) limiter.State {
	plan := o.config.PlanOf(portal)
	return limiter.State{Upstream: portal, Plan: plan, Rate: plan.Rate, Capacity: o.config.QueueDepth}
}

func (o *overview) operatorConfig() operator.Config {
	c := o.config
	oc := operator.Config{
		Version: c.Version, Revision: c.Revision, Mode: c.mode(), Store: operator.InMemory, AdminHost: c.AdminHost, PProf: c.PProf,
		MetricsPortals: c.MetricsPortals, Clients: c.Clients.Names(), Expected: expectedErrors(), Log: c.Log, LogAllCalls: c.LogAllCalls, Snapshot: o.snapshot, Portals: o.portals,
	}
	if c.StateFile != nil {
		oc.Store = operator.InFile
	}
	if c.Shared != nil {
		oc.Store, oc.Shared = operator.InRedis, c.Shared.State
	}
	return oc
}

package operator

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"time"
)

// status describes the proxy and the portals that were called lately, the worst
// first.
func (o *Operator) status() *status {
	now, snapshot := time.Now(), o.config.Snapshot()
	s := &status{
		Time: moment(now),
		Proxy: proxyStatus{
			Version: o.config.Version, Mode: o.config.Mode, Listen: snapshot.Listen, StartedAt: moment(o.began),
			UptimeSeconds: math.Floor(now.Sub(o.began).Seconds()), Draining: snapshot.IsDraining,
		},
		Store:   o.storeStatus(now),
		Portals: []portalStatus{},
	}
	s.Series, s.Unrouted = o.history.overall(now)
	for _, p := range o.config.Portals(now, o.history.names()) {
		if one, isKnown := o.portalStatus(now, &p); isKnown {
			s.Portals = append(s.Portals, one)
		}
	}
	s.Known = len(s.Portals)
	slices.SortStableFunc(s.Portals, worse)
	return s
}

// storeStatus describes where limits are kept. Either kind of store beside memory
// keeps the key from which credentials get their names.
func (o *Operator) storeStatus(now time.Time) storeStatus {
	s := storeStatus{Kind: o.config.Store, KeepsCredentialIDs: o.config.Store != InMemory}
	if o.config.Shared != nil {
		state := o.config.Shared()
		s.Shared = &sharedStatus{Up: state.Up, Replicas: state.Replicas}
		if !state.Up {
			s.Shared.AwaySince, s.Shared.awayFor = moment(state.Since), now.Sub(state.Since)
		}
	}
	return s
}

// portalStatus describes a portal, if it was called lately.
func (o *Operator) portalStatus(now time.Time, p *Portal) (s portalStatus, isKnown bool) {
	s = portalStatus{Portal: p.Upstream, Plan: p.Plan.String(), BreakerOpen: p.Blocked, Queue: queueOf(p), Operating: []operatingStatus{}}
	if !p.Plan.Unlimited() {
		s.Bucket = &bucketStatus{Level: roundTo(p.Level, 1), Burst: p.Plan.Burst, Rate: roundTo(p.Rate, 3), PlanRate: p.Plan.Rate, lowered: p.Lowered}
	}
	for _, b := range p.Budgets[:min(len(p.Budgets), statusBudgets)] {
		s.Operating = append(s.Operating, operatingStatus{
			Credential: b.Credential, Method: b.Method, UsedSeconds: roundTo(b.Used.Seconds(), 1), Ratio: roundTo(b.Ratio, 3),
			ResetAt: moment(b.ResetAt), ClosedUntil: moment(b.HeldUntil), closedFor: b.HeldUntil.Sub(now), Blocked: b.Blocked, UnderWay: b.InFlight,
		})
	}
	isKnown = o.history.describe(now, &s)
	s.State, s.Why = s.judge()
	return s, isKnown
}

func queueOf(p *Portal) queueStatus {
	q := queueStatus{
		Waiting: p.waiting(), Capacity: p.Capacity, WaitSeconds: roundTo(p.Wait.Seconds(), 1),
		ByUrgency: slices.Clone(p.Waiting[:]), ByClient: []clientWaiting{},
	}
	for name, n := range p.Clients {
		q.ByClient = append(q.ByClient, clientWaiting{Client: name[:min(len(name), shownName)], Waiting: n})
	}
	slices.SortFunc(q.ByClient, func(a, b clientWaiting) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Client, b.Client))
	})
	q.OtherClients = max(0, len(q.ByClient)-shownClients)
	q.ByClient = q.ByClient[:min(len(q.ByClient), shownClients)]
	return q
}

func (o *Operator) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	encoder.Encode(o.status())
}

package proxy

import (
	"context"
	"encoding/json"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
)

// watch looks at all portals once a second until ctx ends: it notes how many
// wait, logs what changed, and sends the status to those who watch the page.
func (p *Proxy) watch(ctx context.Context) {
	defer p.watchers.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	changes := make(changes)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, states := time.Now(), p.limiter.States()
		p.operator.history.sample(now, states)
		for i := range states {
			p.look(now, changes, &states[i])
		}
		p.lookAtResting(now, changes)
		if p.watchers.any() {
			p.watchers.publish(p.snapshot())
		}
	}
}

// maxSnapshot bounds the portals on the page: the worst ones. A snapshot has up
// to some KB for each. /status has all.
const maxSnapshot = 200

// snapshot is the status as an event of the stream.
func (p *Proxy) snapshot() []byte {
	s := p.status()
	s.Portals = s.Portals[:min(len(s.Portals), maxSnapshot)]
	data, err := json.Marshal(s)
	if err != nil {
		p.log.Error("the status cannot be shown", "error", err)
	}
	return data
}

// changes are what portals were like when they were last looked at.
type changes map[string]*known

type known struct {
	looked  time.Time
	blocked bool
	lowered bool
	closed  map[operating.Key]bool
}

// watchedBudgets is how many of a portal's budgets are watched, the fullest.
const watchedBudgets = 20

// look logs what has changed at a portal: once a change, with the request that
// met it where one did.
func (p *Proxy) look(now time.Time, c changes, s *limiter.State) {
	k := c[s.Upstream]
	if k == nil {
		k = new(known)
		c[s.Upstream] = k
	}
	k.looked = now
	log := p.log.With("portal", s.Upstream)
	if k.blocked != s.Blocked {
		k.blocked = s.Blocked
		if s.Blocked {
			log.With(p.metBy(s.Upstream, bitrix24.CategoryBlocked)...).Warn("the portal blocks all calls for overload; one a minute goes as a probe")
		} else {
			log.Info("the portal is no longer blocked for overload")
		}
	}
	if lowered := s.Rate < s.Plan.Rate; k.lowered != lowered {
		k.lowered = lowered
		if lowered {
			log.With(p.metBy(s.Upstream, bitrix24.CategoryRateLimit)...).Warn("the rate was lowered, since the portal refuses calls",
				"rate", s.Rate, "plan_rate", s.Plan.Rate)
		} else {
			log.Info("the rate has recovered", "rate", s.Rate)
		}
	}
	closed := make(map[operating.Key]bool)
	for _, b := range p.budgets.List(now, s.Upstream, watchedBudgets) {
		if b.HeldUntil.IsZero() {
			continue
		}
		closed[b.Key] = true
		if !k.closed[b.Key] {
			log.With(p.metBy(s.Upstream, bitrix24.CategoryOperatingTime)...).Warn("a method is closed for its operating time", "method", b.Method, "credential", b.Credential,
				"used", b.Used, "by_the_portal", b.Blocked, "until", b.HeldUntil)
		}
	}
	for b := range k.closed {
		if !closed[b] {
			log.Info("a method is open again", "method", b.Method, "credential", b.Credential)
		}
	}
	k.closed = closed
}

// metBy is the log's field for the request that met an error of a category, if
// one did.
func (p *Proxy) metBy(portal string, category bitrix24.Category) []any {
	if id := p.operator.history.requestOf(portal, category); id != "" {
		return []any{"request_id", id}
	}
	return nil
}

// lookAtResting looks at the portals that the limiter has forgotten since, and
// forgets those of which there is nothing more to tell.
func (p *Proxy) lookAtResting(now time.Time, c changes) {
	for portal, k := range c {
		if k.looked.Before(now) {
			resting := p.resting(portal)
			p.look(now, c, &resting)
			if len(k.closed) == 0 {
				delete(c, portal)
			}
		}
	}
}

package operator

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
)

// Watch looks at all portals once a second until ctx ends: it notes how many
// wait, logs what changed, and sends the status to those who view the page.
func (o *Operator) Watch(ctx context.Context) {
	defer o.viewers.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen := make(changes)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		portals := o.config.Portals(now, slices.Collect(maps.Keys(seen)))
		o.history.sample(now, portals)
		for i := range portals {
			o.look(seen, &portals[i])
		}
		if o.viewers.any() {
			o.viewers.publish(o.status())
		}
	}
}

// changes are what portals were like when they were last looked at.
type changes map[string]*known

type known struct {
	blocked bool
	lowered bool
	held    map[operating.Key]bool
}

// look logs what has changed at a portal, each change once, with the id of the
// request that met it where one did. It forgets a portal at rest when there is
// nothing more to log.
func (o *Operator) look(c changes, p *Portal) {
	k := c[p.Upstream]
	if k == nil {
		k = new(known)
		c[p.Upstream] = k
	}
	log := o.config.Log.With("portal", p.Upstream)
	o.lookAtBlock(log, k, p)
	o.lookAtRate(log, k, p)
	o.lookAtMethods(log, k, p)
	if p.IsAtRest && len(k.held) == 0 {
		delete(c, p.Upstream)
	}
}

func (o *Operator) lookAtBlock(log *slog.Logger, k *known, p *Portal) {
	if k.blocked == p.Blocked {
		return
	}
	k.blocked = p.Blocked
	if p.Blocked {
		log.With(o.metBy(p.Upstream, bitrix24.CategoryBlocked)...).Warn("the portal blocks all calls for overload; one call per minute is sent to see whether the block is over")
		return
	}
	log.Info("the portal is no longer blocked for overload")
}

func (o *Operator) lookAtRate(log *slog.Logger, k *known, p *Portal) {
	if k.lowered == p.Lowered {
		return
	}
	k.lowered = p.Lowered
	if p.Lowered {
		log.With(o.metBy(p.Upstream, bitrix24.CategoryRateLimit)...).Warn("the rate was lowered, because the portal refuses calls",
			"rate", p.Rate, "plan_rate", p.Plan.Rate)
		return
	}
	log.Info("the rate has recovered", "rate", p.Rate)
}

func (o *Operator) lookAtMethods(log *slog.Logger, k *known, p *Portal) {
	held := make(map[operating.Key]bool)
	for _, b := range p.Budgets {
		if b.HeldUntil.IsZero() {
			continue
		}
		held[b.Key] = true
		if !k.held[b.Key] {
			log.With(o.metBy(p.Upstream, bitrix24.CategoryOperatingTime)...).Warn("calls of a method are held back, because it has used up its operating time", "method", b.Method, "credential", b.Credential,
				"used", b.Used, "by_the_portal", b.Blocked, "until", b.HeldUntil)
		}
	}
	for b := range k.held {
		if !held[b] {
			log.Info("calls of a method are no longer held back", "method", b.Method, "credential", b.Credential)
		}
	}
	k.held = held
}

// metBy is the field of the log that names the request which met an error of a
// category, if one did.
func (o *Operator) metBy(portal string, category bitrix24.Category) []any {
	if id := o.history.requestOf(portal, category); id != "" {
		return []any{"request_id", id}
	}
	return nil
}

package proxy

import (
	"context"
	"errors"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
)

// An admission is what an attempt has paid; nothing where nothing counts.
type admission struct {
	slot *limiter.Slot
	pass *operating.Pass
	key  operating.Key
}

// admit waits for a slot, and for the operating time of the method.
func (t *transport) admit(ctx context.Context, ex *exchange, again bool) (admission, error) {
	if !ex.route.call.REST() {
		return admission{}, nil
	}
	began := time.Now()
	a, err := t.pay(ctx, ex, again)
	ex.queued += time.Since(began)
	var rejected *limiter.Rejection
	switch {
	case errors.As(err, &rejected):
		return a, rejection(rejected)
	case err != nil:
		ex.leftQueue = true
	}
	return a, err
}

// pay asks for the method's budget before the queue, so that nobody waits for
// a slot in vain, and again when the slot is there.
func (t *transport) pay(ctx context.Context, ex *exchange, again bool) (a admission, err error) {
	a.key = t.budgetKey(ex)
	ex.budget = a.key
	for {
		if t.observe {
			if rejected := t.budgets.WouldReject(time.Now(), a.key, ex.deadline); rejected != nil { // it would not get into the queue
				ex.would = rejection(rejected)
				return a, nil
			}
		} else if err := t.budgets.Wait(ctx, a.key, ex.deadline); err != nil {
			return a, err
		}
		a.slot, err = t.limiter.Acquire(ctx, limiter.Request{
			Upstream: ex.route.portal,
			Client:   ex.client,
			Urgency:  ex.urgency,
			Wait:     time.Until(ex.deadline),
			Refused:  again,
		})
		if err != nil {
			return a, err
		}
		var hold time.Duration
		var rejected *limiter.Rejection
		a.pass, hold, rejected = t.budgets.Enter(time.Now(), a.key, ex.deadline)
		if t.observe {
			ex.watch(a.slot, hold, rejected)
			return a, nil
		}
		if a.pass != nil {
			return a, nil
		}
		a.slot.Unsent()
		if rejected != nil {
			return a, rejected
		}
	}
}

// budgetKey names the budget that a call spends, as the portal keeps it: by
// application or webhook, and method (read in the server's source).
func (t *transport) budgetKey(ex *exchange) operating.Key {
	return operating.Key{Upstream: ex.route.portal, Credential: t.applications.of(ex.cred), Method: ex.route.call.Method}
}

package proxy

import (
	"context"
	"errors"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
)

// An admitter makes calls wait for what they may use of a portal.
type admitter struct {
	limiter      *limiter.Limiter
	budgets      *operating.Guard
	applications *applications
	observe      bool // nobody waits; what enforcing would have done is noted
}

// An admission lets an attempt be sent. It is empty for a request that no limit
// counts.
type admission struct {
	slot *limiter.Slot
	pass *operating.Pass
	key  operating.Key
}

// giveBack is for a call that is not sent after all.
func (a admission) giveBack() {
	if a.slot != nil {
		a.slot.Unsent()
	}
	if a.pass != nil {
		a.pass.Done(time.Now(), operating.Answer{})
	}
}

// admit waits for a slot and for the operating time of the method. A call that the
// portal refused before goes to the head of the queue.
func (ad *admitter) admit(ctx context.Context, ex *exchange, wasRefused bool) (admission, error) {
	if !ex.route.call.REST() {
		return admission{}, nil
	}
	if a := ex.granted; a != nil {
		ex.granted = nil
		return *a, nil
	}
	began := time.Now()
	a, err := ad.acquire(ctx, ex, wasRefused)
	ex.queueTime += time.Since(began)
	var rejected *limiter.Rejection
	switch {
	case errors.Is(err, limiter.ErrTaken):
	case errors.As(err, &rejected):
		return a, rejection(rejected)
	case err != nil:
		ex.leftQueue = true
	}
	return a, err
}

// acquire waits for the method's operating time before it enters the queue, so that
// no call waits for a slot in vain, and asks again when it has the slot.
func (ad *admitter) acquire(ctx context.Context, ex *exchange, wasRefused bool) (a admission, err error) {
	a.key = ad.budgetKey(ex)
	ex.budget = a.key
	if ad.observe {
		return ad.observed(ctx, ex, a)
	}
	for {
		if err := ad.budgets.Wait(ctx, a.key, ex.deadline); err != nil {
			return a, err
		}
		if a.slot, err = ad.slot(ctx, ex, wasRefused); err != nil {
			return a, err
		}
		var rejected *limiter.Rejection
		a.pass, _, rejected = ad.budgets.Enter(time.Now(), a.key, ex.deadline)
		if a.pass != nil {
			return a, nil
		}
		a.slot.Unsent()
		if rejected != nil {
			return a, rejected
		}
	}
}

// observed lets a call go at once, and notes what enforcing would have done with it. A
// call that would be rejected for its operating time would not enter the queue.
func (ad *admitter) observed(ctx context.Context, ex *exchange, a admission) (admission, error) {
	if rejected := ad.budgets.WouldReject(time.Now(), a.key, ex.deadline); rejected != nil {
		ex.wouldFail = rejection(rejected)
		return a, nil
	}
	var err error
	if a.slot, err = ad.slot(ctx, ex, false); err != nil {
		return a, err
	}
	var wait time.Duration
	var rejected *limiter.Rejection
	a.pass, wait, rejected = ad.budgets.Enter(time.Now(), a.key, ex.deadline)
	ex.observe(a.slot, wait, rejected)
	return a, nil
}

// slot waits for a slot of the portal.
func (ad *admitter) slot(ctx context.Context, ex *exchange, wasRefused bool) (*limiter.Slot, error) {
	r := limiter.Request{
		Upstream: ex.route.portal,
		Client:   ex.client,
		Urgency:  ex.urgency,
		Wait:     time.Until(ex.deadline),
		Refused:  wasRefused,
		Early:    ex.travelled,
	}
	if ex.rider != nil {
		r.Group, r.Rider = ex.rider.group, ex.rider
	}
	return ad.limiter.Acquire(ctx, r)
}

// budgetKey names the operating-time budget of a call as the portal keeps it: by
// application or webhook, and by method (bitrix24/README.md#operating-time).
func (ad *admitter) budgetKey(ex *exchange) operating.Key {
	return operating.Key{Upstream: ex.route.portal, Credential: ad.applications.of(ex.cred), Method: ex.route.call.Method}
}

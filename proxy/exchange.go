package proxy

import (
	"context"
	"net/http"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
)

// An exchange is one call of a client and all that happens to it. Only the client's
// goroutine uses it.
type exchange struct {
	id       string // X-Request-Id
	route    route
	client   string // whose share of the slots it takes
	cred     bitrix24.Credential
	budget   operating.Key // that the last attempt spent
	urgency  int
	deadline time.Time // of waiting for slots
	body     *body
	began    time.Time
	control  *http.ResponseController
	isLast   bool // its connection is closed after it

	repeatable bool // running twice is the same as running once

	queued    time.Duration   // spent waiting for slots
	estimated time.Duration   // that an observing proxy would have waited
	portal    time.Duration   // spent waiting for the portal's answers
	attempts  int             // sent to the portal
	moves     int             // to another address of a renamed portal
	leftQueue bool            // the caller left while it waited
	answer    bitrix24.Answer // the last one's meaning
	failed    *failure        // what the proxy answers in the portal's stead
	status    int             // what the client got
	finished  bool            // the client got all of it

	mayHaveRun bool            // an attempt before the last was lost
	rejected   bitrix24.Reason // why it was not sent again after the portal refused it
	retryAfter time.Duration   // of a call that the portal refused; 0: not known

	would *failure // what an observing proxy would have answered
}

// watch records what the proxy would have done with a call if it did not only observe.
func (ex *exchange) watch(slot *limiter.Slot, hold time.Duration, operating *limiter.Rejection) {
	ex.estimated += slot.EstimatedWait + hold
	switch {
	case slot.WouldReject != nil:
		ex.would = rejection(slot.WouldReject)
	case operating != nil:
		ex.would = rejection(operating)
	}
}

// executed says whether the call ran, in its last attempt or in one before.
func (ex *exchange) executed(last bitrix24.Ran) bitrix24.Ran {
	if last == bitrix24.RanNo && ex.mayHaveRun {
		return bitrix24.RanUnknown
	}
	return last
}

type exchangeKey struct{}

func (ex *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

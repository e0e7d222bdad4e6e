package proxy

import (
	"context"
	"net/http"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
)

// An exchange is one call of a client and what comes of it. Only the goroutine of
// the client's request uses it.
type exchange struct {
	id       string // X-Request-Id
	route    route
	client   string // whose share of the slots the call takes
	cred     bitrix24.Credential
	budget   operating.Key // of the last attempt
	urgency  int
	deadline time.Time // of the waits for a slot
	body     *body
	began    time.Time
	control  *http.ResponseController
	tunnel   *tunnel // that it opens, if it is not a call but a CONNECT
	head     *head   // of the request as the client wrote it; nil: it is not recorded
	isLast   bool    // on its connection

	joins      string     // what the client prefers: yes, no or ""
	rider      *rider     // of a read that may travel with others
	granted    *admission // that it got, where it is sent alone after all
	travelled  bool       // it went with others, in vain
	takenAlong int        // how often it was sent with the slot of another
	together   int        // how many reads were in the batch that the answer comes from
	joined     bool       // this is the batch of others

	write      *write // a call whose repetition is recognized; nil for others
	repeatable bool   // running the call twice is the same as running it once

	queueTime     time.Duration   // spent waiting for slots
	estimatedWait time.Duration   // that an observing proxy did not wait
	portalTime    time.Duration   // spent waiting for the portal's answers
	attempts      int             // sent to the portal
	slotExpired   bool            // before an attempt was sent, which got another slot
	moves         int             // to another address of a renamed portal
	leftQueue     bool            // the caller left while the call waited
	answer        bitrix24.Answer // the meaning of the last one
	failed        *failure        // what the proxy answers instead of the portal
	status        int             // that the client got
	finished      bool            // the client got the whole answer

	mayHaveRun bool            // in an attempt before the last, whose answer was lost
	rejected   bitrix24.Reason // why the call was not sent again after the portal refused it
	retryAfter time.Duration   // of a call that the portal refused; 0: unknown

	wouldFail *failure // what an enforcing proxy would have answered
}

// observe notes what an enforcing proxy would have done with a call: how long it
// would have waited for a slot and for its operating time, or why it would have been
// rejected.
func (ex *exchange) observe(slot *limiter.Slot, operatingWait time.Duration, operatingRejection *limiter.Rejection) {
	ex.estimatedWait += slot.EstimatedWait + operatingWait
	switch {
	case slot.WouldReject != nil:
		ex.wouldFail = rejection(slot.WouldReject)
	case operatingRejection != nil:
		ex.wouldFail = rejection(operatingRejection)
	}
}

// executed reports whether the call ran, in the last attempt or in one before.
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

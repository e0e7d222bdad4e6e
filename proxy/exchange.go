package proxy

import (
	"context"
	"net/http"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
)

// An exchange is one call of a client and all that becomes of it. It belongs
// to the client's goroutine.
type exchange struct {
	id       string // X-Request-Id
	route    route
	client   string // whose share of the slots it takes
	cred     bitrix24.Credential
	budget   limiter.BudgetKey // that the last attempt spent
	urgency  int
	deadline time.Time // of waiting for slots
	body     *body
	began    time.Time
	control  *http.ResponseController

	repeatable bool // running twice is the same as running once

	queued   time.Duration   // spent waiting for slots
	foretold time.Duration   // that an observing proxy would have waited
	portal   time.Duration   // spent waiting for the portal's answers
	attempts int             // sent to the portal
	moves    int             // to another address of a renamed portal
	answer   bitrix24.Answer // the last one's meaning
	failed   *failure        // what the proxy answers in the portal's stead
	status   int             // what the client got
	finished bool            // the client got all of it

	mayHaveRun bool // an attempt before the last was lost
	rejected   bool // the portal refused it, and its patience was at an end

	would *failure // what an observing proxy would have answered
}

// watch notes what an observing proxy would have done with a call.
func (ex *exchange) watch(slot *limiter.Slot, hold time.Duration, operating *limiter.Rejection) {
	ex.foretold += slot.Foretold + hold
	switch {
	case slot.Would != nil:
		ex.would = rejection(slot.Would)
	case operating != nil:
		ex.would = rejection(operating)
	}
}

// executed tells whether the call ran, all attempts considered.
func (ex *exchange) executed(last bitrix24.Ran) bitrix24.Ran {
	if last == bitrix24.No && ex.mayHaveRun {
		return bitrix24.Unknown
	}
	return last
}

// isRepeatable tells whether a call may be sent again though it may have run: a
// read, or a write that version 3 answers from its store of idempotency keys,
// 1 to 255 printable characters (documented). Version 2 ignores the key.
func isRepeatable(c bitrix24.Call, h http.Header) bool {
	if c.Read() {
		return true
	}
	key := h.Get("Idempotency-Key")
	return c.Version == 3 && !c.Batch() && key != "" && len(key) <= 255 && strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

type exchangeKey struct{}

func (ex *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

package proxy

import (
	"context"
	"net/http"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
)

// An exchange is one call of a client and all that becomes of it. It belongs
// to the client's goroutine.
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
	foretold  time.Duration   // that an observing proxy would have waited
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

// watch notes what an observing proxy would have done with a call.
func (ex *exchange) watch(slot *limiter.Slot, hold time.Duration, operating *limiter.Rejection) {
	ex.foretold += slot.EstimatedWait + hold
	switch {
	case slot.WouldReject != nil:
		ex.would = rejection(slot.WouldReject)
	case operating != nil:
		ex.would = rejection(operating)
	}
}

// executed tells whether the call ran, all attempts considered.
func (ex *exchange) executed(last bitrix24.Ran) bitrix24.Ran {
	if last == bitrix24.RanNo && ex.mayHaveRun {
		return bitrix24.RanUnknown
	}
	return last
}

// isRepeatable reports whether a call may be sent again though it may have run,
// judged by the request that leaves: a read, a batch of reads, or a write that
// version 3 answers from its store of idempotency keys (documented). Version 2
// ignores the key.
func isRepeatable(ex *exchange, out *http.Request) bool {
	c, h := ex.route.call, out.Header
	switch {
	case c.Read():
		return true
	case c.Batch():
		isWhole := ex.body.file == nil && len(h["Content-Encoding"]) == 0
		return isWhole && bitrix24.ReadBatch(c, ex.route.rawQuery(), h.Get("Content-Type"), ex.body.head)
	}
	return c.Version == 3 && out.Method == http.MethodPost && hasIdempotencyKey(h)
}

// hasIdempotencyKey reports whether a request has one Idempotency-Key of 1 to
// 255 printable characters. Of two, also where a server takes the name with
// underscores for the same, nobody knows which one counts.
func hasIdempotencyKey(h http.Header) bool {
	const name = "Idempotency-Key"
	var keys []string
	for spelt, values := range h {
		if strings.EqualFold(strings.ReplaceAll(spelt, "_", "-"), name) {
			keys = append(keys, values...)
		}
	}
	return len(keys) == 1 && h.Get(name) == keys[0] && keys[0] != "" && len(keys[0]) <= 255 &&
		strings.IndexFunc(keys[0], func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

type exchangeKey struct{}

func (ex *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

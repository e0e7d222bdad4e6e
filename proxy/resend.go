package proxy

import (
	"errors"
	"net/http"
	"strings"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// Reasons to send a call again, besides those that lost returns.
const (
	refused bitrix24.Reason = "refused" // the portal refused it for its rate limit
	renamed bitrix24.Reason = "renamed" // the portal redirected it to another address
	expired bitrix24.Reason = "expired" // its slot expired before it was sent
)

// maxResends bounds how often one call is sent again. Mostly its caller's patience
// ends before, since a refused call waits for a slot each time.
const maxResends = 1000

// A resender decides whether a call is sent again.
type resender struct {
	router  *router
	journal journal
	observe bool // no call is sent again, unless its portal has moved
}

// next returns why a call is sent again, or "" if it is not. A call that surely did
// not run is sent again. A call that may run twice is sent again once if its answer
// was lost.
func (rs *resender) next(ex *exchange, req *http.Request, at *attempt) (reason bitrix24.Reason, err error) {
	if at.err == nil {
		to, moved, failed := rs.router.moved(ex, at.resp)
		switch {
		case failed != nil:
			return "", failed
		case moved:
			if to.portal != ex.route.portal {
				rs.journal.Record(operator.PortalMoved{Call: ex.call(req.Method), To: to.portal})
			}
			ex.route = to
			return renamed, nil
		}
	}
	switch {
	case at.err != nil && errors.Is(at.err, errSlotExpired):
		ex.slotExpired = true // once: the next connection may take as long
		return expired, nil
	case rs.observe || ex.attempts > maxResends:
		return "", nil
	case at.err == nil && at.answer.IsRefusal():
		return refused, nil
	case ex.mayHaveRun || !ex.repeatable:
		return "", nil
	}
	reason = at.lost()
	ex.mayHaveRun = reason != ""
	return reason, nil
}

// keeps reports whether a call that gets no slot to be sent again is answered with the
// answer to its last attempt: the portal's own refusal, or the failure that would have
// been worth another attempt.
func keeps(ex *exchange, reason bitrix24.Reason, err error) bool {
	var f *failure
	switch isRejected := errors.As(err, &f) && f.outcome == metrics.Rejected; {
	case !isRejected || reason == refused && f.reason == bitrix24.Reason(limiter.Draining):
		return false
	case reason == refused:
		ex.rejected, ex.retryAfter = f.reason, f.retryAfter
	}
	return true
}

// lost returns how the answer was lost. It returns "" if it was not, and if another
// attempt would not help: after a silence, and after a page that would come again.
func (at *attempt) lost() bitrix24.Reason {
	switch {
	case at.err != nil && at.err.reason == bitrix24.ReasonReset:
		return bitrix24.ReasonReset
	case at.err != nil || at.answer.Kind != bitrix24.KindNoAnswer || at.answer.Reason == bitrix24.ReasonTimeout || lasts(at.resp.StatusCode):
		return ""
	}
	return at.answer.Reason
}

// lasts reports whether a page with this status would come again.
func lasts(status int) bool {
	return 400 <= status && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// isRepeatable reports whether a call may be sent again although it may have run:
// whether the request that leaves is a read, a batch of reads, or a write of version 3
// with an idempotency key (bitrix24/README.md#idempotency-keys).
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

func hasIdempotencyKey(h http.Header) bool {
	key, isValid := idempotencyKey(h)
	return isValid && key != ""
}

// idempotencyKey returns the Idempotency-Key of a request, "" if it has none. A valid
// one has 1 to 255 printable characters. Of two keys, nobody knows which one counts; a
// server may read the name with underscores as the same header.
func idempotencyKey(h http.Header) (key string, isValid bool) {
	const name = "Idempotency-Key"
	var keys []string
	for header, values := range h {
		if strings.EqualFold(strings.ReplaceAll(header, "_", "-"), name) {
			keys = append(keys, values...)
		}
	}
	if len(keys) == 0 {
		return "", true
	}
	isValid = len(keys) == 1 && h.Get(name) == keys[0] && keys[0] != "" && len(keys[0]) <= 255 &&
		strings.IndexFunc(keys[0], func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if !isValid {
		return "", false
	}
	return keys[0], true
}

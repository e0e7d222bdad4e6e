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

// Reasons to send a call again, beside those of lost.
const (
	refused bitrix24.Reason = "refused" // by the portal, for its rate limit
	renamed bitrix24.Reason = "renamed" // the call belongs elsewhere
)

// maxResends bounds how often one call is sent again, beside its patience: a
// refused call waits for a slot each time.
const maxResends = 1000

// next says why a call is to be sent again, "" if it is not: what surely did not
// run is, and once what may run twice and whose answer was lost.
func (t *transport) next(ex *exchange, req *http.Request, at *attempt) (reason bitrix24.Reason, err error) {
	if at.err == nil {
		to, moved, failed := t.moved(ex, at.resp)
		switch {
		case failed != nil:
			return "", failed
		case moved:
			if to.portal != ex.route.portal {
				t.journal.Record(operator.PortalMoved{Call: ex.call(req.Method), To: to.portal})
			}
			ex.route = to
			return renamed, nil
		}
	}
	switch {
	case t.observe || ex.attempts > maxResends:
		return "", nil
	case at.err == nil && isRefusal(at.answer):
		return refused, nil
	case ex.mayHaveRun || !ex.repeatable:
		return "", nil
	}
	reason = at.lost()
	ex.mayHaveRun = reason != ""
	return reason, nil
}

// isRefusal tells whether the portal refused a call for its rate limit.
func isRefusal(a bitrix24.Answer) bool {
	return a.Known != nil && a.Known.Category == bitrix24.CategoryRateLimit && a.Executed() == bitrix24.RanNo
}

// keeps reports whether a call that gets no slot to be sent again has the answer
// to its last attempt: the portal's own refusal, or the failure that was worth
// another attempt.
func (t *transport) keeps(ex *exchange, reason bitrix24.Reason, err error) bool {
	var f *failure
	switch isRejected := errors.As(err, &f) && f.outcome == metrics.Rejected; {
	case !isRejected || reason == refused && f.reason == bitrix24.Reason(limiter.Draining):
		return false
	case reason == refused:
		ex.rejected, ex.retryAfter = f.reason, f.retryAfter
	}
	return true
}

// lost says how the answer was lost, "" where it was not, and where another
// attempt would do no better: after a silence, and after a page that will be
// there again.
func (at *attempt) lost() bitrix24.Reason {
	switch {
	case at.err != nil && at.err.reason == bitrix24.ReasonReset:
		return bitrix24.ReasonReset
	case at.err != nil || at.answer.Kind != bitrix24.KindNoAnswer || at.answer.Reason == bitrix24.ReasonTimeout || lasts(at.resp.StatusCode):
		return ""
	}
	return at.answer.Reason
}

// lasts reports whether a page of this status will be there again.
func lasts(status int) bool {
	return 400 <= status && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
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

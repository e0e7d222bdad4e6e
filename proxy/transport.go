package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// A transport is where calls are admitted, so that each attempt pays a slot:
// wait, send, learn from the answer, and perhaps send again.
type transport struct {
	base         http.RoundTripper
	forget       func() // closes the base's idle connections
	limiter      *limiter.Limiter
	budgets      *operating.Guard
	applications *applications
	router       *router
	journal      journal
	timeout      time.Duration // the longest silence of a portal
	observe      bool
	outbound     bool // requests go through the outbound proxy
}

// RoundTrip fails with a *failure, or with the context's cause.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req.Context())
	ex.repeatable = isRepeatable(ex, req)
	var last *attempt // to be repeated for a reason
	var reason bitrix24.Reason
	var status int // of the last attempt's answer
	for {
		paid, err := t.admit(req.Context(), ex, reason == refused)
		if last != nil {
			if err != nil && t.keeps(ex, reason, err) {
				return last.hand(req.Context())
			}
			last.discard()
		}
		if err != nil {
			return nil, err
		}
		if reason != "" {
			t.sentAgain(ex, req.Method, reason, status)
		}
		at := t.attempt(ex, req, paid)
		select {
		case <-at.done:
			ex.portal += time.Since(at.began)
		case <-req.Context().Done():
			ex.portal += time.Since(at.began)
			go at.discard() // it may run: what it teaches is learned all the same
			return nil, context.Cause(req.Context())
		}
		ex.answer, status = at.answer, at.status
		if reason, err = t.next(ex, req, at); err != nil {
			at.discard()
			return nil, err
		}
		switch reason {
		case "":
			return at.hand(req.Context())
		case renamed:
			at.discard()
			last = nil
		default:
			last = at // its place is free already (settle)
		}
	}
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

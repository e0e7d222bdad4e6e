package proxy

import (
	"context"
	"net/http"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
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

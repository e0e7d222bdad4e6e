package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/access"
	"b24proxy/proxy/bitrix24"
)

// A receiver reads requests.
type receiver struct {
	clients     *access.Clients
	failures    *access.Failures // requests of clients that may not call
	journal     journal
	router      *router
	connector   *connector
	limiter     *limiter.Limiter
	spool       *spool
	repeats     *repeatGuard
	longestWait time.Duration // for a slot
	maxBody     int64         // bytes of a request
}

// receive finds out what a request asks for, and reads its body. What can be refused
// without the body is refused before that is read.
func (rc *receiver) receive(w http.ResponseWriter, r *http.Request, ex *exchange, isIn bool) (failed *failure) {
	switch {
	case hasUnclearEnd(r, ex.head):
		return newFailure(bodyEndNotClear)
	case isExcess(r):
		return newFailure(tooManyConnections)
	}
	if failed = rc.recognize(r, ex); failed != nil {
		return failed
	}
	if r.Method == http.MethodConnect {
		ex.tunnel, failed = rc.connector.connect(r, isIn)
		return failed
	}
	if ex.route, failed = rc.router.route(r); failed != nil {
		return failed
	}
	if !isIn {
		return draining()
	}
	ex.urgency, ex.joins = urgency(r.Header), preference(r.Header, "batch")
	ex.identify(r, nil)
	wait := patience(r.Header, rc.longestWait)
	if failed = rc.wouldReject(r, ex, wait); failed != nil {
		return failed
	}
	var err error
	if ex.body, err = rc.spool.read(w, r, rc.maxBody, rc.repeats.bodySum(ex, r)); err != nil {
		if errors.Is(context.Cause(r.Context()), errStopped) {
			return draining()
		}
		return bodyFailure(err, rc.maxBody)
	}
	if len(ex.body.head) > 0 && !ex.route.call.Webhook { // it may have the credential
		ex.identify(r, ex.body.head)
	}
	ex.deadline = time.Now().Add(wait)
	return nil
}

// restIdle bounds how long net/http waits for the rest of a body that is not needed.
// It reads that before it answers, so that the connection can be used again.
const restIdle = 500 * time.Millisecond

// wouldReject returns the answer to a call that would get no slot, nil if it may get
// one. It is asked before the body is read. A client that only the body names may be
// one whose calls go first.
func (rc *receiver) wouldReject(r *http.Request, ex *exchange, wait time.Duration) *failure {
	if r.ContentLength == 0 || !ex.route.call.REST() {
		return nil
	}
	ask := limiter.Request{Upstream: ex.route.portal, Client: ex.client, Urgency: ex.urgency, Wait: wait}
	if ex.client == clientName(nil, bitrix24.Credential{Kind: bitrix24.CredentialNone}) {
		ask.Client = ""
	}
	if rejected := rc.limiter.WouldReject(ask); rejected != nil {
		return rejection(rejected)
	}
	return nil
}

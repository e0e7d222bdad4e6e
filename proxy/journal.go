package proxy

import (
	"net/http"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// A journal records what happens to calls. It is safe for concurrent use.
type journal interface{ Record(operator.Event) }

// call is what an event says of the exchange's call.
func (ex *exchange) call(httpMethod string) operator.Call {
	return operator.Call{RequestID: ex.id, Portal: ex.route.portal, Client: ex.client, HTTPMethod: httpMethod, API: ex.route.call}
}

// ended records the end of a call.
func (p *Proxy) ended(ex *exchange, r *http.Request) {
	e := operator.CallEnded{
		Call: ex.call(r.Method), Outcome: ex.outcome(), Status: ex.status, Code: ex.code(), IsError: ex.isError(), Source: ex.source(),
		Attempts: ex.attempts, Took: time.Since(ex.began),
		Urgency: ex.urgency, Queued: ex.queueTime, Estimated: ex.estimatedWait, LeftQueue: ex.leftQueue, Rejection: ex.rejection(),
		GotSlot: ex.route.call.REST() && ex.attempts > 0 && ex.wouldFail == nil, PortalTime: ex.portalTime,
	}
	e.Reason, e.Executed = ex.reason(e.Outcome), ex.ran(e.Outcome)
	if e.Outcome == metrics.Abandoned {
		e.Status = 0
	}
	if ex.answer.Kind.IsError() && ex.failed == nil {
		e.PortalStatus = ex.answer.ErrorInfo().PortalStatus
	}
	if f := ex.failed; f != nil {
		e.Lost, e.Error, e.RetryAfter, e.RequestedPortal = true, f.logged(), seconds(f.retryAfter), f.requested
	}
	p.journal.Record(e)
}

// sentAgain records that a call is sent once more, because the attempt before got
// an answer of this status, or none (0).
func (t *transport) sentAgain(ex *exchange, httpMethod string, reason bitrix24.Reason, status int) {
	executed := bitrix24.RanNo // refused, or redirected
	if ex.mayHaveRun {
		executed = bitrix24.RanUnknown
	}
	t.journal.Record(operator.CallSentAgain{
		Call: ex.call(httpMethod), Reason: reason, Status: status, Code: ex.code(), IsError: ex.isError(), Executed: executed, Attempts: ex.attempts,
	})
}

// reached records whether an attempt came to its portal.
func (t *transport) reached(c operator.Call, failed *failure) {
	if failed != nil && failed.outcome == metrics.Unreachable {
		t.journal.Record(operator.PortalUnreachable{Call: c, Cause: cause(failed.cause), Error: failed.logged()})
		return
	}
	t.journal.Record(operator.PortalReached{Call: c})
}

package proxy

import (
	"cmp"
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
	if isError(ex.answer.Kind) && ex.failed == nil {
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

// source is where the error arose that the exchange ended with.
func (ex *exchange) source() metrics.Source {
	switch {
	case ex.failed != nil:
		return cmp.Or(ex.failed.source, metrics.FromPortal)
	case ex.wouldFail != nil:
		return ex.wouldFail.source
	}
	return metrics.FromPortal
}

// reason is why a call failed: the reason that its caller read, if there is one.
func (ex *exchange) reason(outcome metrics.Outcome) bitrix24.Reason {
	switch {
	case outcome == metrics.OK:
		return metrics.None
	case ex.failed != nil && ex.failed.reason != "":
		return ex.failed.reason
	case outcome == metrics.Abandoned:
		return operator.ReasonClientLeft
	case ex.wouldFail != nil:
		return ex.wouldFail.reason
	case outcome == metrics.MethodError:
		return operator.ReasonMethodError
	}
	return cmp.Or(ex.answer.ErrorInfo().Reason, operator.ReasonStatus)
}

// rejection is why a call got no slot, or would have got none; "" if it got one.
func (ex *exchange) rejection() bitrix24.Reason {
	switch {
	case ex.failed != nil && ex.failed.outcome == metrics.Rejected:
		return ex.failed.reason
	case ex.wouldFail != nil:
		return ex.wouldFail.reason
	}
	return ex.rejected
}

// ran reports whether the call ran, as far as is known at its end.
func (ex *exchange) ran(outcome metrics.Outcome) bitrix24.Ran {
	switch {
	case ex.attempts == 0:
		return bitrix24.RanNo
	case outcome == metrics.OK:
		return bitrix24.RanYes
	case ex.failed != nil:
		return ex.executed(ex.failed.executed)
	}
	return ex.executed(ex.answer.Executed())
}

// isError reports whether the exchange ended with an error, whose code may be
// empty.
func (ex *exchange) isError() bool { return ex.code() != "" || isError(ex.answer.Kind) }

package proxy

import (
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// A journal records what happens to calls. It is safe for concurrent use.
type journal interface{ Record(operator.Event) }

// record is Record for what happens to every call. The compiler sees that an Operator keeps
// no event, so that none takes memory of its own, as each does that goes to a journal.
func record[E operator.Event](j journal, e E) {
	if o, isOperator := j.(*operator.Operator); isOperator {
		o.Record(e)
		return
	}
	j.Record(e)
}

// call is what an event says of the exchange's call.
func (ex *exchange) call(httpMethod string) operator.Call {
	return operator.Call{RequestID: ex.id, Portal: ex.route.portal, Client: ex.client, HTTPMethod: httpMethod, API: ex.route.call}
}

// ended is the event of the end of a call.
func (ex *exchange) ended(httpMethod string) operator.CallEnded {
	e := operator.CallEnded{
		Call: ex.call(httpMethod), Outcome: ex.outcome(), Status: ex.status, Code: ex.code(), IsError: ex.isError(), Source: ex.source(),
		Attempts: ex.attempts, TakenAlong: ex.takenAlong, Took: time.Since(ex.began),
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
		e.IsReported = f.code == codeClientNotAllowed
	}
	return e
}

// sentAgain is the event that a call is sent once more, because the attempt before got
// an answer of this status, or none (0).
func (ex *exchange) sentAgain(httpMethod string, reason bitrix24.Reason, status int) operator.CallSentAgain {
	executed := bitrix24.RanNo // refused, or redirected
	if ex.mayHaveRun {
		executed = bitrix24.RanUnknown
	}
	return operator.CallSentAgain{
		Call: ex.call(httpMethod), Reason: reason, Status: status, Code: ex.code(), IsError: ex.isError(), Executed: executed, Attempts: ex.attempts,
	}
}

// recordReached records that an attempt came to its portal, or that it did not.
func recordReached(j journal, c operator.Call, failed *failure) {
	if failed != nil && failed.outcome == metrics.Unreachable {
		j.Record(operator.PortalUnreachable{Call: c, Cause: cause(failed.cause), Error: failed.logged()})
		return
	}
	record(j, operator.PortalReached{Call: c})
}

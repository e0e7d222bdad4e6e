package proxy

import (
	"cmp"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// outcome says how the exchange ended.
func (ex *exchange) outcome() metrics.Outcome {
	switch {
	case ex.failed != nil:
		return ex.failed.outcome
	case ex.wouldFail != nil:
		return ex.wouldFail.outcome
	case !ex.finished:
		return metrics.Abandoned
	case ex.rejected != "":
		return metrics.Rejected
	}
	switch ex.answer.Kind {
	case bitrix24.KindSystemError, bitrix24.KindNoAnswer:
		return metrics.PortalError
	case bitrix24.KindMethodError:
		return metrics.MethodError
	case bitrix24.KindUntouched:
		if ex.status >= 500 {
			return metrics.PortalError
		}
	}
	return metrics.OK
}

// code returns the code of the error that the exchange ended with, or "".
func (ex *exchange) code() bitrix24.Code {
	switch {
	case ex.failed != nil:
		return ex.failed.code
	case ex.wouldFail != nil:
		return ex.wouldFail.code
	case ex.answer.Kind.IsError():
		return ex.answer.ErrorCode()
	}
	return ""
}

// isError reports whether the exchange ended with an error, whose code may be
// empty.
func (ex *exchange) isError() bool { return ex.code() != "" || ex.answer.Kind.IsError() }

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
	case ex.attempts == 0 && (ex.write == nil || !ex.write.repeats):
		return bitrix24.RanNo
	case outcome == metrics.OK:
		return bitrix24.RanYes
	case ex.failed != nil:
		return ex.executed(ex.failed.executed)
	}
	return ex.executed(ex.answer.Executed())
}

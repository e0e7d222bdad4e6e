package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// A failure is what the proxy answers in the portal's stead.
type failure struct {
	status      int
	code        bitrix24.Code
	description string
	source      metrics.Source // proxy where empty
	reason      bitrix24.Reason
	executed    bitrix24.Ran
	retryable   bool
	retryAfter  time.Duration // 0: not sent
	outcome     metrics.Outcome
	cause       error

	portalStatus int    // that led to it; 0: none
	requested    string // the host that the request named and may not call
}

func (f *failure) Error() string { return string(f.code) + ": " + f.description }
func (f *failure) Unwrap() error { return f.cause }

// rejection is the answer to a call that got no slot.
func rejection(r *limiter.Rejection) *failure {
	f := &failure{
		status: http.StatusServiceUnavailable, code: bitrix24.CodeQueryLimitExceeded, reason: bitrix24.Reason(r.Reason),
		executed: bitrix24.RanNo, retryable: true, retryAfter: soon(r.RetryAfter), outcome: metrics.Rejected, cause: r,
	}
	switch r.Reason {
	case limiter.QueueFull:
		f.description = "Too many requests: the proxy's queue for this portal is full"
	case limiter.QueueWait:
		f.description = "Too many requests: the wait for a slot of this portal would be too long"
	case limiter.Draining:
		f.description = "The proxy restarts; the call was not sent, repeat it"
	case limiter.OperatingTime:
		f.status, f.code, f.retryAfter = http.StatusTooManyRequests, bitrix24.CodeOperationTimeLimit, max(r.RetryAfter, time.Second)
		f.description = "Method is blocked due to operation time limit, by the proxy, until its operating time is reset"
	case limiter.Overload:
		f.code, f.retryAfter, f.retryable = bitrix24.CodeOverloadLimit, max(r.RetryAfter, time.Second), false
		f.description = "REST API is blocked due to overload; the proxy asks the portal once a minute whether it is open again"
	}
	return f
}

// networkFailure is the answer where the portal gave none.
func networkFailure(ctx context.Context, err error, sent bool) *failure {
	if ended := context.Cause(ctx); ended != nil {
		err = ended // net/http says only that it was canceled
	}
	f := &failure{source: metrics.FromNetwork, cause: err, outcome: metrics.PortalError}
	if !sent {
		f.status, f.code, f.reason = http.StatusServiceUnavailable, codeUnreachable, bitrix24.ReasonUnreachable
		f.description = "The portal could not be reached: " + cause(err)
		f.executed, f.retryable, f.retryAfter, f.outcome = bitrix24.RanNo, true, jitter(4*time.Second), metrics.Unreachable
		return f
	}
	f.status, f.code = http.StatusInternalServerError, bitrix24.CodeUnexpectedAnswer
	f.description, f.reason = "The connection to the portal broke before its answer; the call may have run", bitrix24.ReasonReset
	if errors.Is(err, errTimeout) {
		f.description, f.reason = "The portal did not answer in time: "+cause(err)+"; the call may have run", bitrix24.ReasonTimeout
	}
	return f
}

// logged is the description with what only the log may say of its cause.
func (f *failure) logged() string {
	text := f.description
	if f.cause == nil || f.outcome == metrics.Rejected {
		return text
	}
	if words := cause(f.cause); !strings.Contains(text, words) {
		text += ": " + words
	}
	if at := place(f.cause); at != "" {
		text += " (" + bitrix24.Redact(at) + ")"
	}
	return text
}

// codeUnreachable is that of a portal to which nothing could be sent.
const codeUnreachable bitrix24.Code = "PORTAL_UNREACHABLE"

func (f *failure) from() metrics.Source {
	if f.source == "" {
		return metrics.FromProxy
	}
	return f.source
}

// draining is the answer to a call that comes when the proxy stops.
func draining() *failure {
	return rejection(&limiter.Rejection{Reason: limiter.Draining, RetryAfter: time.Second})
}

// stopped is the answer to a call that was with its portal for so long when the
// proxy had to end.
func stopped(after time.Duration) *failure {
	return &failure{
		status: http.StatusInternalServerError, code: bitrix24.CodeUnexpectedAnswer, reason: bitrix24.Reason(limiter.Draining), outcome: metrics.PortalError,
		description: fmt.Sprintf("The proxy restarts; the portal has not answered for %.1f s, and the call may have run", after.Seconds()),
	}
}

var (
	// gone stands for the answer to a caller who has left.
	gone = &failure{outcome: metrics.Abandoned}
	// brokeOff stands for a long answer of which the caller has got a part.
	brokeOff = &failure{outcome: metrics.PortalError, code: bitrix24.CodeUnexpectedAnswer, reason: bitrix24.ReasonTruncated}
)

// soon is a time to try again, from 1 to 60 seconds. It is not spread further:
// the limiter gives each caller who is refused a turn of its own.
func soon(d time.Duration) time.Duration { return min(max(d, time.Second), time.Minute) }

// jitter spreads those who are told the same time over a fifth more of it.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/5)
}

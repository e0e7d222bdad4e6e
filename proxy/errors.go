package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// An errorID names a row of errorTable.
type errorID int

const (
	queueFull errorID = iota
	waitTooLong
	waitedTooLong
	restarting
	operatingTimeUsedUp
	portalOverloaded

	portalUnreachable
	redirectsInACircle

	connectionBroke
	portalSilent
	redirectsElsewhere
	redirectNotFollowed
	stoppedMeanwhile
	panickedMeanwhile
	panickedBeforeSending

	noKeyForServer
	noKeyForProxy
	portalNotNamed
	portalNotAllowed
	portalNotAHost
	renamedToUnlisted
	movedToUnlisted
	tooManyTunnels
	tunnelHostUnreachable
	connectNotAllowed
	connectInTunnel
	connectNotEnabled
	connectNotSigned
	connectOverHTTP2
	headNotRead
	plainToTLS
	headTooSlow
	headTooLarge
	encodingUnknown
	versionUnknown
	expectationUnknown
	tooManyConnections
	bodyEndNotClear
	bodyCutOff
	bodyTooLarge
	bodyNotKept

	callMayHaveRun
	keyOfAnotherCall
	keyNotReadable

	callerLeft
	answerCutOff
)

// The codes that only this proxy has.
const (
	codePortalUnreachable bitrix24.Code = "PORTAL_UNREACHABLE"
	CodePortalNotNamed    bitrix24.Code = "PORTAL_NOT_NAMED"
	CodePortalNotAllowed  bitrix24.Code = "PORTAL_NOT_ALLOWED"
	codeClientNotAllowed  bitrix24.Code = "CLIENT_NOT_ALLOWED"
	codeConnectNotEnabled bitrix24.Code = "CONNECT_NOT_ENABLED"
	codeRequestNotRead    bitrix24.Code = "REQUEST_NOT_READ"
	codeRequestTooLarge   bitrix24.Code = "REQUEST_TOO_LARGE"
	codeRequestNotKept    bitrix24.Code = "REQUEST_NOT_KEPT"
	codeCallMayHaveRun    bitrix24.Code = "CALL_MAY_HAVE_RUN"
	codeKeyReused         bitrix24.Code = "IDEMPOTENCY_KEY_REUSED"
)

// errorTable has every error that is made here. README.md has them for users, and a
// test compares the two.
var errorTable = [...]errorRow{
	// A call that got no slot. The portal would refuse it with the same code.
	queueFull:           noSlot(bitrix24.CodeQueryLimitExceeded, limiter.QueueFull, "Too many requests: the proxy's queue for this portal is full (B24PROXY_QUEUE_DEPTH)"),
	waitTooLong:         noSlot(bitrix24.CodeQueryLimitExceeded, limiter.QueueWait, "Too many requests: the call would wait %d s for a slot; %d s are allowed (B24PROXY_QUEUE_WAIT or Prefer)"),
	waitedTooLong:       noSlot(bitrix24.CodeQueryLimitExceeded, limiter.QueueWait, "Too many requests: the call got no slot within the %d s that are allowed (B24PROXY_QUEUE_WAIT or Prefer)"),
	restarting:          noSlot(bitrix24.CodeQueryLimitExceeded, limiter.Draining, "The proxy restarts; the call was not sent, repeat it"),
	operatingTimeUsedUp: noSlot(bitrix24.CodeOperationTimeLimit, limiter.OperatingTime, "Method is blocked due to operation time limit: it has used up its operating time, and the proxy does not send it within the next %d s"),
	portalOverloaded:    noSlot(bitrix24.CodeOverloadLimit, limiter.Overload, "REST API is blocked due to overload. Bitrix24 lifts the block by hand; the proxy sends one call a minute to see whether it has"),

	tooManyTunnels: noSlot(bitrix24.CodeQueryLimitExceeded, limiter.QueueFull, "CONNECT to %s is not possible now: %v"),

	// A call that did not reach its portal.
	portalUnreachable:     notReached(metrics.FromNetwork, bitrix24.ReasonUnreachable, "The portal could not be reached: %s"),
	tunnelHostUnreachable: notReached(metrics.FromNetwork, bitrix24.ReasonUnreachable, "%s could not be reached: %s"),
	redirectsInACircle:    notReached(metrics.FromPortal, bitrix24.ReasonRedirectLoop, "The portal redirects the call in a circle, or to itself"),

	// A call that was sent, and that nobody will answer.
	connectionBroke:     noAnswer(metrics.FromNetwork, bitrix24.ReasonReset, "The connection to the portal broke before its answer; the call may have run"),
	portalSilent:        noAnswer(metrics.FromNetwork, bitrix24.ReasonTimeout, "The portal did not answer in time: %s; the call may have run"),
	redirectsElsewhere:  noAnswer(metrics.FromPortal, bitrix24.ReasonRedirect, "The portal redirects to another page; the call may have run"),
	redirectNotFollowed: noAnswer(metrics.FromPortal, bitrix24.ReasonRedirect, "The portal redirects the call to an address that the proxy does not follow: it follows https to a portal on the list, and no redirect to a private address or from another portal to B24PROXY_UPSTREAM. The call did not run").notRun(metrics.PortalError),
	stoppedMeanwhile:    noAnswer(metrics.FromProxy, bitrix24.Reason(limiter.Draining), "The proxy restarts; the portal has not answered for %.1f s, and the call may have run"),
	panickedMeanwhile:   noAnswer(metrics.FromProxy, bitrix24.Reason(bitrix24.CategoryInternal), "The proxy failed on this call, which may have run; the log of the proxy says more"),
	panickedBeforeSending: noAnswer(metrics.FromProxy, bitrix24.Reason(bitrix24.CategoryInternal), "The proxy failed on this call, which was not sent; the log of the proxy says more").
		notRun(metrics.Rejected),

	// A request that cannot be sent as it is.
	noKeyForServer:     invalid(http.StatusUnauthorized, codeClientNotAllowed, "%s. "+howToSendKey),
	noKeyForProxy:      invalid(http.StatusProxyAuthRequired, codeClientNotAllowed, "%s. "+howToSendKey),
	portalNotNamed:     invalid(http.StatusBadRequest, CodePortalNotNamed, "The request names no portal. Name it in the header B24-Portal, as the first path segment (/acme.bitrix24.com/rest/...), or as Host; or set B24PROXY_UPSTREAM."),
	portalNotAllowed:   invalid(http.StatusForbidden, CodePortalNotAllowed, "%s is not allowed. "+whichPortals),
	portalNotAHost:     invalid(http.StatusForbidden, CodePortalNotAllowed, "The portal is not allowed: what the request names is not a valid host; "+asciiOnly+". "+whichPortals),
	renamedToUnlisted:  invalid(http.StatusForbidden, CodePortalNotAllowed, "%s was renamed to %s; add %[2]s to B24PROXY_PORTALS"),
	movedToUnlisted:    invalid(http.StatusForbidden, CodePortalNotAllowed, "%s was renamed to a host that is not allowed. "+whichPortals),
	connectNotAllowed:  invalid(http.StatusForbidden, CodePortalNotAllowed, "CONNECT to %s is not allowed. Allowed is port 443 of the portals in B24PROXY_PORTALS (by default the cloud zones of Bitrix24) and of the hosts in B24PROXY_TUNNEL_HOSTS."),
	connectInTunnel:    invalid(http.StatusForbidden, CodePortalNotAllowed, "CONNECT is not allowed within a tunnel: the proxy already answers in place of the portal."),
	connectNotEnabled:  invalid(http.StatusNotImplemented, codeConnectNotEnabled, "CONNECT to portals is not enabled: it needs a CA (B24PROXY_CA_DIR). Or address the proxy itself: name the portal in the header B24-Portal or as the first path segment."),
	connectNotSigned:   invalid(http.StatusNotImplemented, codeConnectNotEnabled, "CONNECT to %s is not enabled: %v"),
	connectOverHTTP2:   invalid(http.StatusNotImplemented, codeConnectNotEnabled, "CONNECT is not enabled over HTTP/2: send it over HTTP/1.1. HTTP/2 is possible within the tunnel."),
	headNotRead:        invalid(http.StatusBadRequest, codeRequestNotRead, "The request is not valid HTTP/1.1: %s."),
	plainToTLS:         invalid(http.StatusBadRequest, codeRequestNotRead, "This port speaks TLS: write https:// in the address."),
	headTooSlow:        invalid(http.StatusRequestTimeout, codeRequestNotRead, "The header of the request did not come within %.0f s."),
	headTooLarge:       invalid(http.StatusRequestHeaderFieldsTooLarge, codeRequestTooLarge, "The first line and the header of the request are larger than %d bytes. Send the parameters in the body."),
	encodingUnknown:    invalid(http.StatusNotImplemented, codeRequestNotRead, "The Transfer-Encoding of the request is not known. Send its Content-Length, or Transfer-Encoding: chunked."),
	versionUnknown:     invalid(http.StatusHTTPVersionNotSupported, codeRequestNotRead, "The request has a version of HTTP that is not served here. Use HTTP/1.1, or over TLS HTTP/2."),
	expectationUnknown: invalid(http.StatusExpectationFailed, codeRequestNotRead, "The header Expect has another value than 100-continue."),
	tooManyConnections: invalid(http.StatusServiceUnavailable, codeRequestNotKept, "The call was not sent: the proxy has too many connections, each with a call under way").retryIn(shortDelay),
	bodyEndNotClear:    invalid(http.StatusBadRequest, codeRequestNotRead, "It is not clear where the body of this request ends. Send its Content-Length, or with HTTP/1.1 Transfer-Encoding: chunked, and not both."),
	bodyCutOff:         invalid(http.StatusBadRequest, codeRequestNotRead, "The request body could not be read to its end.").notRun(metrics.Abandoned),
	bodyTooLarge:       invalid(http.StatusRequestEntityTooLarge, codeRequestTooLarge, "The request body is larger than %d bytes (B24PROXY_MAX_BODY)."),
	bodyNotKept:        invalid(http.StatusServiceUnavailable, codeRequestNotKept, "The call was not sent: %s").retryIn(shortDelay),

	// A call that repeats another one. Client libraries repeat no answer of these statuses.
	callMayHaveRun: {
		status: http.StatusConflict, code: codeCallMayHaveRun, reason: "repeat", source: metrics.FromProxy, outcome: metrics.Rejected,
		text: "This call may have run already, so it was not sent: the same call went out at %s UTC, and there is no answer to give for it: %s. Look whether it ran. To run it in any case, send it with another Idempotency-Key.",
	},
	keyOfAnotherCall: invalid(http.StatusUnprocessableEntity, codeKeyReused, "The Idempotency-Key of this call was used for another call within the last 24 hours. Send each call with a key of its own."),
	keyNotReadable:   invalid(http.StatusBadRequest, codeRequestNotRead, "The Idempotency-Key of this call cannot be read: it must be one header of 1 to 255 printable ASCII characters."),

	// The end of a call that gets no answer any more. These appear only in the log.
	callerLeft:   {outcome: metrics.Abandoned},
	answerCutOff: {code: bitrix24.CodeUnexpectedAnswer, reason: bitrix24.ReasonTruncated, outcome: metrics.PortalError},
}

const (
	whichPortals = "The allowed portals are those in B24PROXY_PORTALS (by default the cloud zones of Bitrix24), with a port only where the list names it."

	howToSendKey = "The proxy serves only clients with a key of B24PROXY_CLIENT_KEYS. Send it in Proxy-Authorization, or write it into the address of the proxy: http://NAME:KEY@HOST:PORT"

	shortDelay = 4 * time.Second
)

// An errorRow is an error that is made here.
type errorRow struct {
	status     int
	code       bitrix24.Code
	reason     bitrix24.Reason
	source     metrics.Source
	executed   bitrix24.Ran
	retryable  bool          // false where that depends on the call, since it may have run
	retryAfter time.Duration // how soon at the least; 0: there is no Retry-After
	outcome    metrics.Outcome
	text       string // may have verbs of fmt
}

// noSlot is a row for a call that is refused here with a code of the portal, which
// means the same as when the portal sends it.
func noSlot(code bitrix24.Code, reason limiter.Reason, text string) errorRow {
	known := bitrix24.Lookup(code)
	row := errorRow{
		status: known.Status, code: code, reason: bitrix24.Reason(reason), source: metrics.FromProxy,
		executed: known.Ran, outcome: metrics.Rejected, text: text,
	}
	if known.Passing {
		return row.retryIn(time.Second)
	}
	return row
}

// notReached is a row for a call that the portal has not received or not accepted.
func notReached(source metrics.Source, reason bitrix24.Reason, text string) errorRow {
	return errorRow{
		status: http.StatusServiceUnavailable, code: codePortalUnreachable, reason: reason, source: source,
		executed: bitrix24.RanNo, outcome: metrics.Unreachable, text: text,
	}.retryIn(shortDelay)
}

// noAnswer is a row for a call that was sent and has no answer.
func noAnswer(source metrics.Source, reason bitrix24.Reason, text string) errorRow {
	known := bitrix24.Lookup(bitrix24.CodeUnexpectedAnswer)
	return errorRow{
		status: known.Status, code: known.Code, reason: reason, source: source,
		executed: known.Ran, outcome: metrics.PortalError, text: text,
	}
}

// invalid is a row for a request that has to be changed before it can be sent.
func invalid(status int, code bitrix24.Code, text string) errorRow {
	return errorRow{
		status: status, code: code, reason: bitrix24.Reason(strings.ToLower(string(code))), source: metrics.FromProxy,
		executed: bitrix24.RanNo, outcome: metrics.Rejected, text: text,
	}
}

// notRun makes it a row for a call that surely did not run, and says how it ends.
func (row errorRow) notRun(outcome metrics.Outcome) errorRow {
	row.executed, row.outcome = bitrix24.RanNo, outcome
	return row
}

// retryIn makes it a row for a call that may succeed when it is repeated after d.
func (row errorRow) retryIn(d time.Duration) errorRow {
	row.retryable, row.retryAfter = true, d
	return row
}

// A failure is an error of the table for one call.
type failure struct {
	errorRow
	description  string
	cause        error
	portalStatus int    // of the answer that led to it; 0: none
	requested    string // the host that the request names and that is not allowed
}

// newFailure returns the error of a row, with args put into its text.
func newFailure(id errorID, args ...any) *failure {
	f := &failure{errorRow: errorTable[id]}
	f.description, f.retryAfter = f.text, jitter(f.retryAfter)
	if len(args) > 0 {
		f.description = fmt.Sprintf(f.text, args...)
	}
	return f
}

func (f *failure) Error() string { return string(f.code) + ": " + f.description }
func (f *failure) Unwrap() error { return f.cause }

// rejection returns the error for a call that got no slot.
func rejection(r *limiter.Rejection) *failure {
	var f *failure
	retryAfter := soon(r.RetryAfter)
	switch {
	case r.Reason == limiter.OperatingTime:
		retryAfter = max(r.RetryAfter, time.Second)
		f = newFailure(operatingTimeUsedUp, seconds(retryAfter))
	case r.Reason == limiter.QueueWait && r.EstimatedWait > 0:
		f = newFailure(waitTooLong, seconds(r.EstimatedWait), seconds(r.LongestWait))
	case r.Reason == limiter.QueueWait:
		f = newFailure(waitedTooLong, seconds(r.LongestWait))
	default:
		f = newFailure(map[limiter.Reason]errorID{limiter.QueueFull: queueFull, limiter.Draining: restarting, limiter.Overload: portalOverloaded}[r.Reason])
	}
	f.cause = r
	if f.retryable {
		f.retryAfter = retryAfter
	}
	return f
}

// networkFailure returns the error for a call that its portal did not answer.
func networkFailure(ctx context.Context, err error, sent bool) *failure {
	if ended := context.Cause(ctx); ended != nil {
		err = ended // net/http says only that it was canceled
	}
	var f *failure
	switch {
	case !sent:
		f = newFailure(portalUnreachable, cause(err))
	case errors.Is(err, errTimeout):
		f = newFailure(portalSilent, cause(err))
	default:
		f = newFailure(connectionBroke)
	}
	f.cause = err
	return f
}

// bodyFailure returns the error for a request whose body could not be read or kept.
func bodyFailure(err error, limit int64) *failure {
	var f *failure
	switch {
	case errors.Is(err, errTooLarge):
		f = newFailure(bodyTooLarge, limit)
	case errors.Is(err, errNotKept):
		f = newFailure(bodyNotKept, cause(err))
	default:
		f = newFailure(bodyCutOff)
	}
	f.cause = err
	return f
}

// draining returns the error for a call that comes while the proxy stops.
func draining() *failure {
	return rejection(&limiter.Rejection{Reason: limiter.Draining, RetryAfter: time.Second})
}

// notAllowed returns the error for a request that names a host off the list. It
// repeats the name only if that surely is a host: it may be a webhook code in the
// wrong place.
func notAllowed(name string) *failure {
	host, err := cleanHost(name, portalPort)
	switch {
	case err != nil:
		return newFailure(portalNotAHost)
	case !strings.ContainsAny(host, ".:"):
		return newFailure(portalNotAllowed, "The portal")
	}
	f := newFailure(portalNotAllowed, "The portal "+host)
	f.requested = host
	return f
}

// renamedTo returns the error for a call that its portal redirects to a host off the
// list.
func renamedTo(portal, name string) *failure {
	requested := notAllowed(name).requested
	if requested == "" || isPrivateIP(requested) {
		return newFailure(movedToUnlisted, portal)
	}
	f := newFailure(renamedToUnlisted, portal, requested)
	f.requested = requested
	return f
}

// logged returns the description, with what only the log may say about the cause.
func (f *failure) logged() string {
	text := f.description
	if f.cause == nil || f.outcome == metrics.Rejected {
		return text
	}
	if words := cause(f.cause); !strings.Contains(text, words) {
		text = strings.TrimSuffix(text, ".") + ": " + words
	}
	if at := place(f.cause); at != "" {
		text += " (" + bitrix24.Redact(at) + ")"
	}
	return text
}

package operator

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// An eventLog writes events to the log.
type eventLog struct {
	to       *slog.Logger
	allCalls bool // a line at info for every call, not only for failed ones
}

func (l eventLog) note(e Event) {
	switch e := e.(type) {
	case CallEnded:
		l.callEnded(e)
	case CallSentAgain:
		l.to.Info("sending again", append(named(e.Call), "status", e.Status, "code", codeShown(e.IsError, e.Code), "reason", e.Reason,
			"executed", e.Executed, "attempts", e.Attempts)...)
	case RepeatSeen:
		l.repeatSeen(e)
	case Joined:
		l.to.Debug("reads are sent together", append(named(e.Call), "reads", e.Reads)...)
	case SentAlone:
		l.to.Debug("a read is sent alone", append(named(e.Call), "reason", e.Reason)...)
	case portalLost:
		l.to.Warn("the portal cannot be reached", "request_id", e.RequestID, "portal", e.Portal, "error", e.Error)
	case portalBack:
		l.to.Info("the portal is reachable again", "request_id", e.RequestID, "portal", e.Portal, "after", e.After)
	case portalRenamed:
		l.to.Warn("the portal was renamed", "request_id", e.RequestID, "portal", e.Portal, "to", e.To)
	case ClientsRefused:
		l.to.Warn("requests without a valid client key were refused; at most one line per minute for an address",
			"request_id", e.RequestID, "address", e.Address, "key", map[bool]string{true: "wrong", false: metrics.None}[e.Tried], "requests", e.Requests)
	case TunnelOpened:
		l.to.Debug("tunnel opened", "request_id", e.RequestID, "host", e.Host, "client", clientShown(e.Call))
	case TunnelEnded:
		l.to.Info("tunnel ended", "request_id", e.RequestID, "host", e.Host, "client", clientShown(e.Call), "sent", e.Sent, "received", e.Received, "took", shown(e.Took))
	case Panicked:
		l.to.Error("a panic ended a call; this is a fault of b24proxy, please report it",
			"request_id", e.RequestID, "panic", panicShown(e.Cause), "stack", bitrix24.Redact(string(e.Stack)))
	}
}

// repeatSeen writes a line about a call that would have run twice. What had to go before
// its time is only counted.
func (l eventLog) repeatSeen(e RepeatSeen) {
	if e.Result == metrics.Evicted {
		return
	}
	what := "a repeated write was not sent"
	if e.IsSent {
		what = "a repeated write would not have been sent"
	}
	l.to.Info(what, append(named(e.Call), "result", e.Result, "first_request_id", e.FirstID, "first_sent", e.FirstSent.UTC().Format(time.RFC3339), "became", cmp.Or(e.Became, metrics.None))...)
}

// panicShown is what the log may say of a panic. The text of a runtime error has
// types and numbers alone. Any other may repeat what a client sent; the stack says
// where it comes from.
func panicShown(cause any) string {
	if err, isRuntime := cause.(runtime.Error); isRuntime {
		return bitrix24.Redact(err.Error())
	}
	return fmt.Sprintf("%T (its text is left out, since it may hold a secret)", cause)
}

// callEnded writes the one line that each call of a client has when it ends.
func (l eventLog) callEnded(e CallEnded) {
	level := l.level(e)
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	fields := append(named(e.Call), "status", e.Status, "code", codeShown(e.IsError, e.Code), "reason", e.Reason,
		"executed", e.Executed, "outcome", e.Outcome, "attempts", e.Attempts,
		"queued", shown(e.Queued), "portal_time", shown(e.PortalTime), "took", shown(e.Took))
	if e.PortalStatus != 0 {
		fields = append(fields, "portal_status", e.PortalStatus)
	}
	if e.RequestedPortal != "" {
		fields = append(fields, "requested_portal", e.RequestedPortal)
	}
	if e.RetryAfter > 0 {
		fields = append(fields, "retry_after", e.RetryAfter)
	}
	if e.Error != "" {
		fields = append(fields, "error", e.Error)
	}
	l.to.Log(context.Background(), level, "call", fields...)
}

// level is the level of a call's line. Clients see their own mistakes and our
// refusals, requests without a key have a warning of their own (ClientsRefused), and an unreachable portal has one warning when that begins
// (portalLost). A call whose answer was lost on the way is a warning each time.
func (l eventLog) level(e CallEnded) slog.Level {
	switch {
	case (e.Outcome == metrics.OK || e.IsReported) && !l.allCalls:
		return slog.LevelDebug
	case e.Outcome == metrics.PortalError && e.Lost:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// named are the fields that say which call a line is about.
func named(c Call) []any {
	return []any{
		"request_id", c.RequestID, "portal", cmp.Or(c.Portal, metrics.None), "call", c.API,
		"client", clientShown(c), "http_method", verb(c.HTTPMethod),
	}
}

func clientShown(c Call) string { return cmp.Or(strings.TrimSpace(c.Client), metrics.None) }

// verb is a method of HTTP. A client may have sent anything in its place.
func verb(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodConnect:
		return method
	}
	return metrics.Other
}

func codeShown(isError bool, code bitrix24.Code) string {
	if !isError {
		return metrics.None
	}
	return shownCode(code)
}

// shown is a duration as precise as in Server-Timing.
func shown(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

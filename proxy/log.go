package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// Reasons that stand in the log alone: these calls got no object of ours.
const (
	reasonMethodError = "method_error" // the method answered with an error of its own
	reasonClientLeft  = "client_left"
	reasonStatus      = "status" // 5xx, of an answer that is not looked into
)

// logCall writes the one line that each call of a client has when it ends.
func (p *Proxy) logCall(ex *exchange, r *http.Request, outcome metrics.Outcome, took time.Duration) {
	level := ex.level(outcome)
	if outcome == metrics.OK && p.config.LogAllCalls {
		level = slog.LevelInfo
	}
	if !p.log.Enabled(context.Background(), level) {
		return
	}
	fields := append(ex.named(r.Method), "status", ex.status, "code", ex.shownCode(), "reason", ex.reason(outcome),
		"executed", ex.ran(outcome), "outcome", outcome, "attempts", ex.attempts,
		"queued", shown(ex.queued), "portal_time", shown(ex.portal), "took", shown(took))
	if isError(ex.answer.Kind) && ex.failed == nil {
		fields = append(fields, "portal_status", ex.answer.ErrorInfo().PortalStatus)
	}
	if f := ex.failed; f != nil {
		fields = append(fields, f.fields()...)
	}
	p.log.Log(context.Background(), level, "call", fields...)
}

// logAgain writes that a call is sent once more, for what came of the attempt
// before: an answer of this status, or none.
func (t *transport) logAgain(ex *exchange, method string, reason bitrix24.Reason, status int) {
	executed := bitrix24.RanNo // refused, or redirected
	if ex.mayHaveRun {
		executed = bitrix24.RanUnknown
	}
	t.log.Info("sending again", append(ex.named(method), "status", status, "code", ex.shownCode(), "reason", string(reason),
		"executed", executed, "attempts", ex.attempts)...)
}

// named are the fields that say which call a line is about.
func (ex *exchange) named(method string) []any {
	return []any{
		"request_id", ex.id, "portal", cmp.Or(ex.route.portal, metrics.None), "call", ex.route.call,
		"client", ex.shownClient(), "http_method", verb(method),
	}
}

// level is how loud the end of a call is. Mistakes of clients and refusals are
// theirs to see, and what lasts has a line when it begins (history); what is lost
// on the way is new each time.
func (ex *exchange) level(outcome metrics.Outcome) slog.Level {
	switch {
	case outcome == metrics.OK:
		return slog.LevelDebug
	case outcome == metrics.PortalError && ex.failed != nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// reason is why a call failed: the one that its caller read, where there is one.
func (ex *exchange) reason(outcome metrics.Outcome) string {
	switch {
	case outcome == metrics.OK:
		return metrics.None
	case ex.failed != nil && ex.failed.reason != "":
		return string(ex.failed.reason)
	case outcome == metrics.Abandoned:
		return reasonClientLeft
	case ex.would != nil:
		return string(ex.would.reason)
	case outcome == metrics.MethodError:
		return reasonMethodError
	}
	return cmp.Or(string(ex.answer.ErrorInfo().Reason), reasonStatus)
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

func (ex *exchange) shownCode() string {
	if ex.code() == "" && !isError(ex.answer.Kind) {
		return metrics.None
	}
	return shownCode(string(ex.code()))
}

func (ex *exchange) shownClient() string {
	return cmp.Or(strings.TrimSpace(ex.client), metrics.None)
}

// fields are what the log says of a failure beside the call.
func (f *failure) fields() (fields []any) {
	if f.requested != "" {
		fields = append(fields, "requested_portal", f.requested)
	}
	if f.retryAfter > 0 {
		fields = append(fields, "retry_after", seconds(f.retryAfter))
	}
	if f.description != "" {
		fields = append(fields, "error", f.logged())
	}
	return fields
}

// shown is a duration as Server-Timing has it.
func shown(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

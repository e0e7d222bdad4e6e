package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// A normalizer writes what callers read: the answers of portals, and the errors that
// are made here.
type normalizer struct {
	limiter   *limiter.Limiter
	budgets   *operating.Guard
	journal   journal
	calls     *gate
	normalize bool // errors get one shape
}

// answer is ReverseProxy's ModifyResponse. It makes the caller's answer out of the
// portal's.
func (n *normalizer) answer(resp *http.Response) error {
	ex := exchangeOf(resp.Request.Context())
	a := ex.answer
	if a.Kind.IsError() {
		resp.Header.Set("B24-Error-Source", string(metrics.FromPortal))
		n.retryAfter(resp.Header, ex)
		if n.normalize {
			info := a.ErrorInfo()
			info.Source, info.RequestID, info.Executed = string(metrics.FromPortal), ex.id, ex.executed(info.Executed)
			info.Retryable = info.Retryable || ex.repeatable && info.Executed == bitrix24.RanUnknown && a.Kind == bitrix24.KindNoAnswer && !lasts(resp.StatusCode)
			replace(resp, a, info)
			if a.Kind != bitrix24.KindMethodError {
				agree(resp.Header, info.Retryable)
			}
			allowOrigin(resp.Header, resp.Request.Header)
		}
	}
	ex.status = resp.StatusCode
	n.describe(resp.Header, ex)
	return nil
}

// retryAfter says when to repeat a call that the portal refused for a limit. The
// portal itself never says (bitrix24/README.md#rate-limit).
func (n *normalizer) retryAfter(h http.Header, ex *exchange) {
	known := ex.answer.Known
	if known == nil || h.Get("Retry-After") != "" {
		return
	}
	switch known.Category {
	case bitrix24.CategoryRateLimit:
		if ex.retryAfter == 0 {
			ex.retryAfter = soon(n.limiter.RetryAfter(ex.route.portal))
		}
		setRetryAfter(h, ex.retryAfter)
	case bitrix24.CategoryOperatingTime:
		setRetryAfter(h, max(time.Second, n.budgets.RetryAfter(time.Now(), ex.budget)))
	}
}

// replace puts the normalized answer in place of the portal's.
func replace(resp *http.Response, a bitrix24.Answer, info bitrix24.ErrorInfo) {
	status, contentType, content := a.Normalized(info)
	resp.StatusCode, resp.Status = status, ""
	if a.Kind == bitrix24.KindMethodError {
		return // the body passes as it came
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(content))
	resp.ContentLength = int64(len(content))
	resp.TransferEncoding, resp.Trailer = nil, nil
	for _, name := range []string{"Content-Encoding", "Etag", "Last-Modified", "Content-Range", "Accept-Ranges", "Content-Disposition", "Cache-Control", "Expires"} {
		resp.Header.Del(name)
	}
	resp.Header.Set("Content-Length", strconv.Itoa(len(content)))
	resp.Header.Set("Content-Type", contentType)
}

// fail answers in the portal's stead. All errors that are made here pass it; it is
// also ReverseProxy's ErrorHandler.
func (n *normalizer) fail(w http.ResponseWriter, r *http.Request, err error) {
	ex := exchangeOf(r.Context())
	f := failureOf(r.Context(), ex, err)
	ex.failed = f
	if f.status == 0 { // nobody is there to read an answer
		// A caller who closed only his half would read an empty success otherwise.
		if r.Context().Value(http.ServerContextKey) != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	ex.status = f.status
	n.journal.Record(operator.ErrorSeen{Call: ex.call(r.Method), Source: f.source, Code: f.code, IsOurs: true})
	n.write(w, r, ex, f)
}

// failureOf returns the error of the table for whatever ended an exchange.
func failureOf(ctx context.Context, ex *exchange, err error) *failure {
	var f *failure
	isStopped := errors.Is(context.Cause(ctx), errStopped)
	switch {
	case errors.As(err, &f) && f.outcome == metrics.Unreachable && ex.mayHaveRun:
		return networkFailure(ctx, f.cause, true) // an attempt before it was sent
	case errors.As(err, &f):
		return f
	case isStopped && ex.attempts == 0:
		return draining()
	case isStopped:
		return newFailure(stoppedMeanwhile, ex.portalTime.Seconds())
	case ctx.Err() != nil:
		return newFailure(callerLeft)
	}
	return networkFailure(ctx, err, true)
}

// write writes an error that is made here.
func (n *normalizer) write(w http.ResponseWriter, r *http.Request, ex *exchange, f *failure) {
	info := bitrix24.ErrorInfo{
		Source: string(f.source), Reason: f.reason, Executed: ex.executed(f.executed), RequestID: ex.id, PortalStatus: f.portalStatus,
		Retryable: f.retryable || f.executed == bitrix24.RanUnknown && ex.repeatable,
	}
	content := bitrix24.Error(f.code, f.description, info, ex.route.call.XML)
	h := w.Header()
	h.Set("Content-Type", bitrix24.ContentType(ex.route.call.XML))
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("B24-Error-Source", string(f.source))
	allowOrigin(h, r.Header)
	challenge(h, f)
	if f.retryAfter > 0 {
		setRetryAfter(h, f.retryAfter)
	}
	agree(h, info.Retryable)
	n.describe(h, ex)
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		w.Write(content)
	}
}

// describe sets the headers that each answer has.
func (n *normalizer) describe(h http.Header, ex *exchange) {
	timing := serverTiming(ex.queueTime, ex.portalTime)
	if ex.together > 0 {
		timing += fmt.Sprintf(", batch;desc=%d", ex.together)
	}
	h["Server-Timing"] = append([]string{timing}, h["Server-Timing"]...)
	h.Set("X-Request-Id", ex.id)
	if ex.isLast || n.calls.isClosed() { // then the next call goes to another process
		h.Set("Connection", "close")
	}
	if s, found := n.limiter.State(ex.route.portal); found && !s.Plan.Unlimited() {
		burst := float64(s.Plan.Burst)
		h.Set("RateLimit-Policy", fmt.Sprintf(`"portal";q=%d;w=%.0f`, s.Plan.Burst, math.Ceil(burst/s.Plan.Rate)))
		h.Set("RateLimit", fmt.Sprintf(`"portal";r=%.0f;t=%.0f`, math.Floor(burst-s.Level), math.Ceil(s.Level/s.Rate)))
	}
}

// serverTiming says how long a call waited, in milliseconds.
func serverTiming(queue, portal time.Duration) string {
	b := make([]byte, 0, len("queue;dur=12345.6, portal;dur=12345.6"))
	b = strconv.AppendFloat(append(b, "queue;dur="...), milliseconds(queue), 'f', 1, 64)
	b = strconv.AppendFloat(append(b, ", portal;dur="...), milliseconds(portal), 'f', 1, 64)
	return string(b)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

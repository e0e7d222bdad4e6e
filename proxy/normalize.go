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

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// answer is ReverseProxy's ModifyResponse: what the caller gets of an answer.
func (p *Proxy) answer(resp *http.Response) error {
	ex := exchangeOf(resp.Request.Context())
	a := ex.answer
	if isError(a.Kind) {
		resp.Header.Set("B24-Error-Source", string(metrics.FromPortal))
		p.retryAfter(resp.Header, ex)
		if p.config.Normalize {
			told := a.ErrorInfo()
			told.Source, told.RequestID, told.Executed = string(metrics.FromPortal), ex.id, ex.executed(told.Executed)
			told.Retryable = told.Retryable || ex.repeatable && told.Executed == bitrix24.RanUnknown && a.Kind == bitrix24.KindNoAnswer && !lasts(resp.StatusCode)
			replace(resp, a, told)
			allowOrigin(resp.Header, resp.Request.Header)
		}
	}
	ex.status = resp.StatusCode
	p.describe(resp.Header, ex)
	return nil
}

// retryAfter says when a call that the portal refused for a limit would do; the
// portal itself never says (measured).
func (p *Proxy) retryAfter(h http.Header, ex *exchange) {
	known := ex.answer.Known
	if known == nil || h.Get("Retry-After") != "" {
		return
	}
	switch known.Category {
	case bitrix24.CategoryRateLimit:
		if ex.retryAfter == 0 {
			ex.retryAfter = soon(p.limiter.RetryAfter(ex.route.portal))
		}
		setRetryAfter(h, ex.retryAfter)
	case bitrix24.CategoryOperatingTime:
		setRetryAfter(h, max(time.Second, p.budgets.RetryAfter(time.Now(), ex.budget)))
	}
}

func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(seconds(d)))
}

// seconds are a time to wait, as Retry-After says it.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

func isError(k bitrix24.Kind) bool {
	return k == bitrix24.KindSystemError || k == bitrix24.KindMethodError || k == bitrix24.KindNoAnswer
}

// replace puts the normalized answer in place of the portal's.
func replace(resp *http.Response, a bitrix24.Answer, told bitrix24.ErrorInfo) {
	status, contentType, content := a.Normalized(told)
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

// fail is the one funnel for what the proxy answers in the portal's stead; as
// ReverseProxy's ErrorHandler too.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	ex := exchangeOf(r.Context())
	var f *failure
	switch {
	case errors.As(err, &f):
	case errors.Is(context.Cause(r.Context()), errStopped) && ex.attempts == 0:
		f = draining()
	case errors.Is(context.Cause(r.Context()), errStopped):
		f = newFailure(stoppedMeanwhile, ex.portal.Seconds())
	case r.Context().Err() != nil: // nobody is there to read an answer
		ex.failed = newFailure(callerLeft)
		// Who closed only his half would else read an empty success.
		if r.Context().Value(http.ServerContextKey) != nil {
			panic(http.ErrAbortHandler)
		}
		return
	default:
		f = networkFailure(r.Context(), err, true)
	}
	ex.failed, ex.status = f, f.status
	p.journal.Record(operator.ErrorSeen{Call: ex.call(r.Method), Source: f.source, Code: f.code, IsOurs: true})

	told := bitrix24.ErrorInfo{
		Source: string(f.source), Reason: f.reason, Executed: ex.executed(f.executed), RequestID: ex.id, PortalStatus: f.portalStatus,
		Retryable: f.retryable || f.executed == bitrix24.RanUnknown && ex.repeatable,
	}
	content := bitrix24.Error(f.code, f.description, told, ex.route.call.XML)
	h := w.Header()
	h.Set("Content-Type", bitrix24.ContentType(ex.route.call.XML))
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("B24-Error-Source", string(f.source))
	allowOrigin(h, r.Header)
	if f.retryAfter > 0 {
		setRetryAfter(h, f.retryAfter)
	}
	p.describe(h, ex)
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		w.Write(content)
	}
}

// describe sets the headers that every answer has.
func (p *Proxy) describe(h http.Header, ex *exchange) {
	h["Server-Timing"] = append([]string{fmt.Sprintf("queue;dur=%.1f, portal;dur=%.1f", milliseconds(ex.queued), milliseconds(ex.portal))}, h["Server-Timing"]...)
	h.Set("X-Request-Id", ex.id)
	if ex.isLast || p.calls.isClosed() { // then the next call goes to another process
		h.Set("Connection", "close")
	}
	if s, found := p.limiter.State(ex.route.portal); found && !s.Plan.Unlimited() {
		burst := float64(s.Plan.Burst)
		h.Set("RateLimit-Policy", fmt.Sprintf(`"portal";q=%d;w=%.0f`, s.Plan.Burst, math.Ceil(burst/s.Plan.Rate)))
		h.Set("RateLimit", fmt.Sprintf(`"portal";r=%.0f;t=%.0f`, math.Floor(burst-s.Level), math.Ceil(s.Level/s.Rate)))
	}
}

// codeOf is the code of a portal's error, as the caller sees it.
func codeOf(a bitrix24.Answer) bitrix24.Code {
	if a.Kind == bitrix24.KindNoAnswer {
		return bitrix24.CodeUnexpectedAnswer
	}
	return a.Code
}

// code is that of the error that the exchange ended with, "" if it did not.
func (ex *exchange) code() bitrix24.Code {
	switch {
	case ex.failed != nil:
		return ex.failed.code
	case ex.would != nil:
		return ex.would.code
	case isError(ex.answer.Kind):
		return codeOf(ex.answer)
	}
	return ""
}

// outcome tells how the exchange ended.
func (ex *exchange) outcome() metrics.Outcome {
	switch {
	case ex.failed != nil:
		return ex.failed.outcome
	case ex.would != nil:
		return ex.would.outcome
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

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

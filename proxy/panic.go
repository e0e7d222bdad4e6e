package proxy

import (
	"net/http"
	"runtime/debug"

	"b24proxy/proxy/operator"
)

// panicked records a panic, and is the answer to its call.
func panicked(j journal, c operator.Call, cause any) *failure {
	j.Record(operator.Panicked{Call: c, Cause: cause, Stack: debug.Stack()})
	return newFailure(panickedMeanwhile)
}

// recovered ends a call whose handler panicked, with an error unless a part of an
// answer has been written already. It must be deferred.
func (p *Proxy) recovered(w *answerWriter, r *http.Request, ex *exchange) {
	cause := recover()
	switch cause {
	case nil:
		return
	case http.ErrAbortHandler: // net/http cuts the connection, in silence
		panic(cause)
	}
	f := panicked(p.journal, ex.call(r.Method), cause)
	if ex.attempts == 0 {
		f = newFailure(panickedBeforeSending)
	}
	if w.wrote {
		ex.failed = f
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	p.fail(w, r, f)
}

// Admin serves operators: the status page, metrics and health.
func (p *Proxy) Admin() http.Handler { return p.withoutPanics(p.operator.Handler()) }

// withoutPanics answers a request in whose handling something panicked, unless
// a part of an answer has been written already.
func (p *Proxy) withoutPanics(h http.Handler) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w := &answerWriter{ResponseWriter: to}
		defer func() {
			cause := recover()
			switch {
			case cause == nil:
			case cause == http.ErrAbortHandler, w.wrote: //nolint:errorlint // net/http compares what recover returns, too
				panic(http.ErrAbortHandler)
			default:
				panicked(p.journal, operator.Call{RequestID: requestID(r.Header)}, cause)
				http.Error(w, "500: see the log", http.StatusInternalServerError)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// An answerWriter records whether an answer has begun.
type answerWriter struct {
	http.ResponseWriter
	wrote bool
}

func (w *answerWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status) // panics if there is no such status
	w.wrote = w.wrote || status >= 200
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

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

// withoutPanics answers a request in whose handling something panicked, unless
// a part of an answer has been written already.
func withoutPanics(j journal, h http.Handler) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w := &answerWriter{ResponseWriter: to}
		defer func() {
			cause := recover()
			switch {
			case cause == nil:
			case cause == http.ErrAbortHandler, w.wrote: //nolint:errorlint // net/http compares what recover returns, too
				panic(http.ErrAbortHandler)
			default:
				panicked(j, operator.Call{RequestID: requestID(r.Header)}, cause)
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
	if h := w.Header(); h["Content-Type"] == nil {
		h["Content-Type"] = nil // no guess where the portal does not name one
	}
	w.ResponseWriter.WriteHeader(status) // panics if there is no such status
	w.wrote = w.wrote || status >= 200
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

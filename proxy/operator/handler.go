package operator

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"time"
)

// storeDetail says whether the shared store is there. The proxy is ready without it.
func (o *Operator) storeDetail() string {
	if o.config.Shared == nil {
		return ""
	}
	s := o.config.Shared()
	if s.Up {
		return fmt.Sprintf("shared store: up; replicas: %d\n", s.Replicas)
	}
	reached := "it has not been reached since this replica started"
	if s.Replicas > 0 {
		reached = fmt.Sprintf("replicas when it was last reached: %d", s.Replicas)
	}
	return fmt.Sprintf("shared store: away since %s; this replica goes on alone with its share of the limits; %s\n",
		s.Since.UTC().Format(time.RFC3339), reached)
}

// Handler serves operators: the status page and its JSON, metrics, health and
// readiness, and profiles where they are switched on.
func (o *Operator) Handler() http.Handler {
	mux := http.NewServeMux()
	o.routePage(mux)
	mux.Handle("GET /metrics", o.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o.config.Snapshot().IsDraining {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n"+o.storeDetail())
	})
	if o.config.PProf {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return guarded(mux, o.config.AdminHost)
}

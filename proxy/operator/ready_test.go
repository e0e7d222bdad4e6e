package operator

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"b24proxy/limiter"
)

// The proxy is ready whether or not the shared store is there. The detail says so.
func TestReadyDetail(t *testing.T) {
	since := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for name, c := range map[string]struct {
		state *limiter.StoreState
		want  string
	}{
		"without a store":             {nil, "ready\n"},
		"with a store":                {&limiter.StoreState{Up: true, Replicas: 2}, "ready\nshared store: up; replicas: 2\n"},
		"with a store that is away":   {&limiter.StoreState{Since: since, Replicas: 2}, "ready\nshared store: away since 2026-05-04T03:02:01Z; this replica goes on alone with its share of the limits; replicas when it was last reached: 2\n"},
		"with a store that never was": {&limiter.StoreState{Since: since}, "ready\nshared store: away since 2026-05-04T03:02:01Z; this replica goes on alone with its share of the limits; it has not been reached since this replica started\n"},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{
				Mode: Enforce, Store: InRedis, MetricsPortals: 10, Log: debugLog(t.Output()),
				Snapshot: func() Snapshot { return Snapshot{} }, Portals: func(time.Time, []string) []Portal { return nil },
			}
			if c.state != nil {
				config.Shared = func() limiter.StoreState { return *c.state }
			}
			w := httptest.NewRecorder()
			New(config).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/readyz", nil))
			if w.Code != 200 || w.Body.String() != c.want {
				t.Errorf("got %d %q, want 200 %q", w.Code, w.Body, c.want)
			}
		})
	}
}

package operator

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newTestOperator makes an operator of a proxy that holds nothing yet.
func newTestOperator(t *testing.T, edit func(*Config)) *Operator {
	t.Helper()
	c := Config{
		Mode: Enforce, Store: InMemory, MetricsPortals: 10, Log: debugLog(t.Output()),
		Snapshot: func() Snapshot { return Snapshot{} },
		Portals:  func(time.Time, []string) []Portal { return nil },
	}
	if edit != nil {
		edit(&c)
	}
	return New(c)
}

// get asks for an address under a Host, with headers.
func (o *Operator) get(target, host string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, r)
	return w
}

func epochAt(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

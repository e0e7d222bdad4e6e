package proxy

import (
	"net/http/httptest"
	"testing"
	"time"
)

// newTestOperator makes an operator of a proxy that holds nothing yet.
func newTestOperator(t *testing.T, edit func(*operatorConfig)) *operator {
	t.Helper()
	c := operatorConfig{
		Mode: "enforce", Store: "memory", MetricsPortals: 10, Log: debugLog(t.Output()),
		Snapshot: func() operatorSnapshot { return operatorSnapshot{} },
		Portals:  func(time.Time, []string) []operatorPortal { return nil },
	}
	if edit != nil {
		edit(&c)
	}
	return newOperator(c)
}

// get asks for an address under a Host, with headers.
func (o *operator) get(target, host string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	o.handler().ServeHTTP(w, r)
	return w
}

func epochAt(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

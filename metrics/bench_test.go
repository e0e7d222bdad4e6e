package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What a call costs that is counted as usual.
func BenchmarkCall(b *testing.B) {
	m := New(Options{Portals: 1000, Expected: expected})
	b.ReportAllocs()
	for n := range b.N {
		portal := fmt.Sprint("p", n%100, ".bitrix24.com")
		m.AttemptStarted(portal)
		m.AttemptDone(portal, 200, 100*time.Millisecond, "0f5b8e3c7a1d4f26")
		m.QueueWait(portal, 3, 0, "0f5b8e3c7a1d4f26")
		m.Request(portal, OK, 200, 110*time.Millisecond, "0f5b8e3c7a1d4f26")
	}
}

// What a scrape of a thousand portals costs.
func BenchmarkScrape(b *testing.B) {
	m := New(Options{Portals: 1000, Expected: expected})
	for n := range 100_000 {
		portal := fmt.Sprint("p", n%1000, ".bitrix24.com")
		m.AttemptStarted(portal)
		m.AttemptDone(portal, 200, time.Duration(n)*time.Microsecond, "0f5b8e3c7a1d4f26")
		m.QueueWait(portal, 3, 0, "0f5b8e3c7a1d4f26")
		m.Request(portal, OK, 200, time.Duration(n)*time.Microsecond, "0f5b8e3c7a1d4f26")
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", openMetrics)
		m.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
}

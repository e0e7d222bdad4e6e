package metrics

import (
	_ "embed"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// contract lists the metrics that users may rely on: name, type, labels.
//
//go:embed testdata/contract.txt
var contract string

// fed returns metrics in which every collector has something to show.
func fed() *Metrics {
	m := New(Options{Portals: 2, Version: "1.2.3", Revision: "abcdef", Clients: []string{"shop"}})
	feed(m, "acme.bitrix24.com", "req-1")
	m.WatchSpool(func() (memory, disk int64) { return 1, 2 })
	m.WatchStore(func() bool { return true })
	m.StoreRequest(time.Millisecond, false)
	m.Watch(func() []Portal {
		return []Portal{{Name: "acme.bitrix24.com", Capacity: 1000, Level: 20, Burst: 50, Rate: 2, PlanRate: 2}}
	})
	return m
}

// feed records one of everything for a portal.
func feed(m *Metrics, portal, requestID string) {
	m.Request(portal, OK, 200, 300*time.Millisecond, requestID)
	m.Error(portal, "QUERY_LIMIT_EXCEEDED", FromPortal)
	m.Rejected(portal, "queue_full")
	m.QueueWait(portal, 3, 200*time.Millisecond, requestID)
	m.Abandoned(portal)
	m.AttemptStarted(portal)
	m.AttemptDone(portal, 200, 100*time.Millisecond, requestID)
	m.Resend(portal, "refused")
	m.Batch(portal, 17)
	m.Fallback(portal, "error")
}

// gather returns the proxy's own metric families by name, without the prefix.
func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := make(map[string]*dto.MetricFamily)
	for _, family := range all {
		if name, ok := strings.CutPrefix(family.GetName(), namespace+"_"); ok {
			own[name] = family
		}
	}
	return own
}

// values returns the values of a family's series by their labels: "label,label".
func values(family *dto.MetricFamily) map[string]float64 {
	series := make(map[string]float64)
	for _, metric := range family.GetMetric() {
		var labels []string
		for _, pair := range metric.GetLabel() {
			labels = append(labels, pair.GetValue())
		}
		value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() +
			float64(metric.GetHistogram().GetSampleCount())
		series[strings.Join(labels, ",")] = value
	}
	return series
}

func scrape(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("/metrics: got %d %s, want 200", w.Code, w.Body)
	}
	return w.Body.String()
}

// The metrics have the names, types and labels of the contract.
func TestContract(t *testing.T) {
	var want, got []string
	for line := range strings.Lines(strings.TrimSpace(contract)) {
		want = append(want, strings.Join(strings.Fields(line), " "))
	}
	for name, family := range gather(t, fed()) {
		line := []string{name, strings.ToLower(family.GetType().String())}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			line = append(line, pair.GetName())
		}
		got = append(got, strings.Join(line, " "))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A new process shows only its build.
func TestFreshProcessShowsBuildOnly(t *testing.T) {
	own := gather(t, New(Options{Portals: 10, Version: "1.2.3"}))
	if len(own) != 1 || own["build_info"] == nil {
		t.Errorf("got %d families, want build_info alone", len(own))
	}
}

// Names and help texts follow the conventions of Prometheus.
func TestLint(t *testing.T) {
	var families []*dto.MetricFamily
	for _, family := range gather(t, fed()) {
		families = append(families, family)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

// Histograms have classic and native buckets at the same time, and the native
// ones are bounded for any observation.
func TestHistogramsAreClassicAndNative(t *testing.T) {
	m := fed()
	for took := time.Nanosecond; took < time.Hour; took += took/20 + 1 {
		m.QueueWait("acme.bitrix24.com", 3, took, "")
	}
	for _, name := range []string{"request_duration_seconds", "queue_wait_seconds", "portal_request_duration_seconds"} {
		h := gather(t, m)[name].GetMetric()[0].GetHistogram()
		if len(h.GetBucket()) == 0 {
			t.Errorf("%s: got no classic buckets, want some", name)
		}
		if len(h.GetPositiveDelta()) == 0 || len(h.GetPositiveDelta()) > 160 {
			t.Errorf("%s: got %d native buckets, want 1 to 160", name, len(h.GetPositiveDelta()))
		}
	}
}

// The metrics of Go and of the process are served too.
func TestRuntimeMetrics(t *testing.T) {
	text := scrape(t, fed(), "text/plain")
	for _, name := range []string{"\ngo_goroutines ", "\nprocess_start_time_seconds "} {
		if !strings.Contains(text, name) {
			t.Errorf("/metrics: got no %q, want it", strings.TrimSpace(name))
		}
	}
}

// Counting, watching and scraping at the same time is safe and loses no count. The
// race detector proves the first part.
func TestConcurrentUse(t *testing.T) {
	const workers, calls = 8, 200
	m := New(Options{Portals: 3})
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			portal := fmt.Sprintf("p%d.bitrix24.com", worker)
			for range calls {
				feed(m, portal, "req-1")
			}
			m.Watch(func() []Portal { return []Portal{{Name: portal}} })
			if _, err := m.registry.Gather(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	total := 0.0
	for _, value := range values(gather(t, m)["requests_total"]) {
		total += value
	}
	if total != workers*calls {
		t.Errorf("got requests_total %v, want %d", total, workers*calls)
	}
}

var exposition = flag.String("exposition", "", "write what /metrics serves to this file, for promtool check metrics")

// The text format ends with a complete line; with -exposition it is kept.
func TestExposition(t *testing.T) {
	text := scrape(t, fed(), "text/plain")
	if !strings.HasSuffix(text, "\n") {
		t.Error("got a last line of /metrics without an end, want it complete")
	}
	if *exposition == "" {
		return
	}
	if err := os.WriteFile(*exposition, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

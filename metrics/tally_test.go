package metrics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// Whatever is counted, a scraper reads what it would read of the library's counters and
// histograms, in each format: names, labels, values, buckets of both kinds, exemplars and
// the times at which series began. Only the exemplars of native buckets may be others,
// see [histogram].
func TestTalliesReadLikeTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, 0))
			m := New(Options{Portals: 3, Expected: expected})
			library := newLibrary(m.expected)
			for range random.IntN(3000) {
				if random.IntN(10) == 0 {
					time.Sleep(time.Duration(random.IntN(int(time.Minute))))
				}
				portal := []string{"", "a.bitrix24.com", "b.bitrix24.com", "c.bitrix24.com", "d.bitrix24.com", "e.bitrix24.com"}[random.IntN(6)]
				tally := m.portals.of(portal)
				library.begin(tally.label)
				switch random.IntN(3) {
				case 0:
					s, n := anySeries(random, m.expected), random.IntN(3)
					tally.add(s, n, m.expected)
					library.counters[s.desc].WithLabelValues(tally.labels(s.first, s.second)...).Add(float64(n))
				case 1:
					tally.addInFlight(1)
					library.inFlight.WithLabelValues(tally.label).Inc()
				default:
					id, value := histogramID(random.IntN(int(histograms))), anyValue(random)
					requestID := []string{"", fmt.Sprint("req-", random.IntN(1000))}[random.IntN(2)]
					tally.observe(id, value, requestID)
					library.observe(id, tally, value, requestID)
				}
			}
			compare(t, m, library)
		}
	})
}

// Native buckets that become too many become wider, as those of the library do.
func TestNativeBucketsBecomeWider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		m := New(Options{Portals: 1})
		library := newLibrary(m.expected)
		tally := m.portals.of("a.bitrix24.com")
		library.begin(tally.label)
		for range 5000 {
			value := math.Exp2(random.Float64()*80 - 10)
			tally.observe(queueWait, value, "")
			library.observe(queueWait, tally, value, "")
		}
		if halved := tally.histograms[queueWait].halved; halved < 2 {
			t.Errorf("got buckets that became wider %d times, want 2 or more", halved)
		}
		compare(t, m, library)
	})
}

// anyValue is of the order of a microsecond to an hour, or a bound.
func anyValue(random *rand.Rand) float64 {
	switch random.IntN(4) {
	case 0:
		return durationBuckets[random.IntN(len(durationBuckets))]
	case 1:
		return math.Exp2(float64(random.IntN(40) - 20))
	}
	return math.Exp2(random.Float64()*32 - 20)
}

func anySeries(random *rand.Rand, expected []series) series {
	if random.IntN(2) == 0 {
		return expected[random.IntN(len(expected))]
	}
	return []series{
		{requests, string(MethodError), "4xx"}, {errorsSeen, "empty", string(FromNetwork)}, {rejected, Other, ""}, {attempts, "2xx", ""},
		{resends, "refused", ""}, {desc: batches}, {desc: batchCalls}, {fallbacks, "error", ""},
	}[random.IntN(8)]
}

func compare(t *testing.T, m *Metrics, library *library) {
	t.Helper()
	ours := prometheus.NewRegistry()
	ours.MustRegister(portalSeries{m})
	for _, format := range []string{"text/plain", openMetrics} {
		if got, want := served(ours, format), served(library.registry, format); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", format, got, want)
		}
	}
	got, err := ours.Gather()
	want, _ := library.registry.Gather()
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d families (%v), want %d", len(got), err, len(want))
	}
	for i, family := range got {
		for k, metric := range family.GetMetric() {
			of := want[i].GetMetric()[k]
			if has, should := takeExemplars(metric.GetHistogram()) > 0, takeExemplars(of.GetHistogram()) > 0; has != should {
				t.Errorf("%s: got native exemplars: %v, want %v", family.GetName(), has, should)
			}
			if !proto.Equal(metric, of) {
				t.Errorf("%s: got\n%v\nwant\n%v", family.GetName(), metric, of)
			}
		}
	}
}

func takeExemplars(h *dto.Histogram) (n int) {
	if h != nil {
		n, h.Exemplars = len(h.Exemplars), nil
	}
	return n
}

func served(registry *prometheus.Registry, format string) string {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", format)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	return w.Body.String()
}

// library counts in the library's own collectors.
type library struct {
	registry   *prometheus.Registry
	expected   []series
	begun      map[string]bool
	counters   map[*prometheus.Desc]*prometheus.CounterVec
	inFlight   *prometheus.GaugeVec
	histograms map[*prometheus.Desc]*prometheus.HistogramVec
}

func newLibrary(expected []series) *library {
	l := &library{
		registry: prometheus.NewRegistry(), expected: expected, begun: make(map[string]bool),
		counters: make(map[*prometheus.Desc]*prometheus.CounterVec), histograms: make(map[*prometheus.Desc]*prometheus.HistogramVec),
	}
	for _, d := range []*prometheus.Desc{requests, errorsSeen, rejected, queueAbandoned, attempts, resends, replays, batchCalls, batches, fallbacks} {
		name, help, labels := described(d)
		l.counters[d] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		l.registry.MustRegister(l.counters[d])
	}
	name, help, labels := described(inFlight)
	l.inFlight = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	l.registry.MustRegister(l.inFlight)
	for _, s := range shapes[:queueWait+1] {
		name, help, labels := described(s.desc)
		opts := histogramOpts("", help, s.bounds)
		opts.Namespace, opts.Name = "", name
		l.histograms[s.desc] = prometheus.NewHistogramVec(opts, labels)
		l.registry.MustRegister(l.histograms[s.desc])
	}
	return l
}

var description = regexp.MustCompile(`fqName: (".*?"), help: (".*?"), .*variableLabels: \{(.*?)\}`)

func described(d *prometheus.Desc) (name, help string, labels []string) {
	parts := description.FindStringSubmatch(d.String())
	name, _ = strconv.Unquote(parts[1])
	help, _ = strconv.Unquote(parts[2])
	return name, help, strings.Split(parts[3], ",")
}

func (l *library) begin(portal string) {
	if l.begun[portal] || portal == None {
		return
	}
	l.begun[portal] = true
	for _, s := range l.expected {
		l.counters[s.desc].WithLabelValues((&tally{label: portal}).labels(s.first, s.second)...)
	}
}

func (l *library) observe(id histogramID, t *tally, value float64, requestID string) {
	s := shapes[id]
	observer := l.histograms[s.desc].WithLabelValues(t.labels(s.priority)...).(prometheus.ExemplarObserver)
	if requestID == "" {
		observer.ObserveWithExemplar(value, nil)
		return
	}
	observer.ObserveWithExemplar(value, prometheus.Labels{exemplarKey: requestID})
}

// A portal that was called once takes less than 1 kB: what is zero takes nothing. With the library's
// own collectors it took 24 kB.
func TestIdlePortalTakesLittle(t *testing.T) {
	const portals = 2000
	m := New(Options{Portals: portals, Expected: expected})
	before := heap()
	for n := range portals {
		oneCall(m, fmt.Sprintf("p%d.bitrix24.com", n), fmt.Sprintf("request-%d", n))
	}
	if each := (heap() - before) / portals; each > 1500 {
		t.Errorf("got %d bytes a portal, want about 700", each)
	}
	runtime.KeepAlive(m)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// oneCall counts a call that succeeds.
func oneCall(m *Metrics, portal, requestID string) {
	m.AttemptStarted(portal)
	m.AttemptDone(portal, 200, 300*time.Millisecond, requestID)
	m.QueueWait(portal, 3, 0, requestID)
	m.Request(portal, OK, 200, 310*time.Millisecond, requestID)
}

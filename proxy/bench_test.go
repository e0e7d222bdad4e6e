package proxy

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// BenchmarkRoute finds out which portal a request names, in each way.
func BenchmarkRoute(b *testing.B) {
	const path = "/rest/1/inventedcode1234/crm.deal.list"
	cloud := newRouter(CloudPortals(), nil)
	for name, c := range map[string]struct {
		router       *router
		target, host string
		header       string
	}{
		"header":   {cloud, path, "127.0.0.1:8080", "acme.bitrix24.com"},
		"segment":  {cloud, "/acme.bitrix24.com" + path, "127.0.0.1:8080", ""},
		"target":   {cloud, "http://acme.bitrix24.com" + path, "acme.bitrix24.com", ""},
		"host":     {cloud, path, "acme.bitrix24.com", ""},
		"upstream": {newRouter(CloudPortals(), must(url.Parse("http://127.0.0.1:8090"))), path, "127.0.0.1:8080", ""},
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodPost, c.target, nil)
			r.Host = c.host
			if c.header != "" {
				r.Header.Set("B24-Portal", c.header)
			}
			b.ReportAllocs()
			for b.Loop() {
				if to, failed := c.router.route(r); failed != nil || to.call.Method != "crm.deal.list" {
					b.Fatalf("got %+v (%v), want the route", to, failed)
				}
			}
		})
	}
}

// BenchmarkExamination reads an answer and finds out what it means: one that is held as a
// whole, and one that streams.
func BenchmarkExamination(b *testing.B) {
	call := bitrix24.ParseCall("/rest/1/inventedcode1234/crm.deal.list")
	for name, size := range map[string]int{"small": 100, "3.5kB": 3500, "1MB": 1 << 20} {
		answer := fmt.Appendf(nil, `{"result":["%s"],"time":{"operating":0.1,"operating_reset_at":1764288600}}`, strings.Repeat("x", size))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				resp := &http.Response{
					StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: -1, Request: httptest.NewRequest(http.MethodPost, "/", nil),
				}
				var learned bitrix24.Answer
				examine(resp, call, func(a bitrix24.Answer) { learned = a }, nil)
				io.Copy(io.Discard, resp.Body)
				if resp.Body.Close(); !learned.Time.HasOperating {
					b.Fatalf("got %+v, want a success with its operating time", learned)
				}
			}
		})
	}
}

// BenchmarkJournal records all that happens to a call that succeeds: metrics, history
// and a line of the log that is not written.
func BenchmarkJournal(b *testing.B) {
	for _, portals := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d portals", portals), func(b *testing.B) {
			o := operator.New(operator.Config{MetricsPortals: 1000, Log: slog.New(slog.DiscardHandler)})
			names := make([]string, portals)
			for i := range names {
				names[i] = fmt.Sprintf("p%d.bitrix24.com", i)
			}
			c := operator.Call{RequestID: "NP56UIE3SUHRFTDYY4BX6JPAFS", Client: "webhook 507da47e72b7", HTTPMethod: http.MethodPost, API: bitrix24.ParseCall("/rest/1/inventedcode1234/crm.deal.list")}
			record := func(n int) {
				c.Portal = names[n%portals]
				o.Record(operator.AttemptBegan{Call: c})
				o.Record(operator.PortalReached{Call: c})
				o.Record(operator.AttemptEnded{Call: c, Status: http.StatusOK, Took: time.Millisecond})
				o.Record(operator.CallEnded{Call: c, Outcome: metrics.OK, Status: http.StatusOK, Attempts: 1, Took: time.Millisecond, Urgency: defaultUrgency, GotSlot: true})
			}
			for n := range portals {
				record(n) // the first call makes the metrics of a portal
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				record(n)
			}
		})
	}
}

// BenchmarkCall passes a call through all stages, to a portal in this process. The number
// of portals that are called in turn does not matter to it.
func BenchmarkCall(b *testing.B) {
	portal := fixed(http.StatusOK, "application/json", fmt.Appendf(nil, `{"result":["%s"],"time":{}}`, strings.Repeat("x", 3500)))
	for _, portals := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d portals", portals), func(b *testing.B) {
			p := newProxy(b, func(c *Config) {
				c.Plan, c.MetricsPortals = limiter.Unlimited, 1000
				c.Log = slog.New(slog.DiscardHandler)
			}).behind(portal)
			call := func(n int) {
				w := p.call(http.MethodPost, deal, "{}", "B24-Portal", fmt.Sprintf("p%d.bitrix24.com", n%portals))
				if w.Code != http.StatusOK {
					b.Fatalf("got %d %s, want 200", w.Code, w.Body)
				}
			}
			for n := range portals {
				call(n) // the first call makes the metrics of a portal
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				call(n)
			}
		})
	}
}

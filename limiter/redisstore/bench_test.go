package redisstore

import (
	"slices"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// BenchmarkAcquire measures what a slot costs on loopback, one call after another.
func BenchmarkAcquire(b *testing.B) {
	for name, c := range map[string]limiter.Config{
		"alone":          {},
		"with the store": {Store: mustOpen(b, Config{URL: storetest.StartRedis(b).URL, Egress: "bench"})},
	} {
		b.Run(name, func(b *testing.B) {
			c.Plan, c.Depth = func(string) limiter.Plan { return limiter.Plan{Rate: 100_000, Burst: 1_000_000} }, 10
			l := limiter.New(c)
			var waits []time.Duration
			for b.Loop() {
				began := time.Now()
				s, err := l.Acquire(b.Context(), limiter.Request{Upstream: "u", Wait: time.Minute})
				if err != nil {
					b.Fatal(err)
				}
				waits = append(waits, time.Since(began))
				s.Answered(limiter.Accepted)
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(waits[len(waits)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}

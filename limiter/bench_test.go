package limiter

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkAcquire takes a slot that is free, sends nothing and gives it back.
func BenchmarkAcquire(b *testing.B) {
	for name, plan := range map[string]Plan{"unlimited": Unlimited, "below the limit": {Rate: 1000, Burst: 1000}} {
		b.Run(name, func(b *testing.B) {
			l := New(Config{Plan: func(string) Plan { return plan }, Depth: 1})
			b.ReportAllocs()
			for b.Loop() {
				slot, err := l.Acquire(b.Context(), Request{Upstream: "acme.bitrix24.com", Client: "a", Urgency: 3, Wait: time.Second})
				if err != nil {
					b.Fatal(err)
				}
				slot.Unsent()
				slot.Done()
			}
		})
	}
}

// BenchmarkAcquireBesideWaiters enters a queue in which so many calls of one client, or
// of as many clients, wait already, and leaves it.
func BenchmarkAcquireBesideWaiters(b *testing.B) {
	for _, waiters := range []int{1, 100, 10_000} {
		for _, clients := range []int{1, 10, waiters} {
			if clients > waiters {
				continue
			}
			b.Run(fmt.Sprintf("%d of %d clients", waiters, clients), func(b *testing.B) {
				l := queueOf(b, waiters, clients)
				left, leave := context.WithCancel(b.Context())
				leave()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := l.Acquire(left, Request{Upstream: "acme.bitrix24.com", Client: "new", Urgency: 3, Wait: 1000 * time.Hour}); err == nil {
						b.Fatal("got a slot, want none")
					}
				}
			})
		}
	}
}

// BenchmarkServe lets the first of so many waiters go, and another one come.
func BenchmarkServe(b *testing.B) {
	for _, waiters := range []int{1, 100, 10_000} {
		for _, clients := range []int{1, 10, waiters} {
			if clients > waiters {
				continue
			}
			b.Run(fmt.Sprintf("%d of %d clients", waiters, clients), func(b *testing.B) {
				var q queue
				for i := range waiters {
					q.push(&waiter{client: fmt.Sprint(i % clients), urgency: 3})
				}
				b.ReportAllocs()
				for b.Loop() {
					q.push(q.pop())
				}
			})
		}
	}
}

// queueOf is a limiter in which so many calls wait for a slot that does not come.
func queueOf(b *testing.B, waiters, clients int) *Limiter {
	b.Helper()
	l := New(Config{Plan: func(string) Plan { return Plan{Rate: 0.01, Burst: 1} }, Depth: 2 * waiters})
	_, err := l.Acquire(b.Context(), Request{Upstream: "acme.bitrix24.com", Client: "0", Wait: time.Hour}) // the slot that is free
	if err != nil {
		b.Fatal(err)
	}
	for i := range waiters {
		go l.Acquire(b.Context(), Request{Upstream: "acme.bitrix24.com", Client: fmt.Sprint(i % clients), Urgency: 3, Wait: 1000 * time.Hour})
	}
	for waiting := 0; waiting < waiters; {
		s, _ := l.State("acme.bitrix24.com")
		waiting = 0
		for _, n := range s.Waiting {
			waiting += n
		}
		time.Sleep(time.Millisecond)
	}
	b.Cleanup(l.Close)
	return l
}

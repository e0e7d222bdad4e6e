package redisstore

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// tenfold is the standard plan of an upstream that runs ten times as fast.
var tenfold = limiter.Plan{Rate: 20, Burst: 50}

// An upstream is the strictest that fits the documentation, ten times as fast: its
// counter falls by two ten times a second, and counts what it refuses.
type upstream struct {
	mu      sync.Mutex
	tick    time.Time
	level   float64
	refused int
	late    int // calls on whose way more time passed than a bucket allows for, on a busy machine
}

// arrive is called for a call that got its slot at the given time.
func (u *upstream) arrive(slot time.Time) (refused bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(slot) > 900*time.Millisecond {
		u.late++
	}
	for ; !u.tick.After(time.Now()); u.tick = u.tick.Add(100 * time.Millisecond) {
		u.level = max(0, u.level-2)
	}
	u.level++
	if u.level > float64(tenfold.Burst) {
		u.refused++
		return true
	}
	return false
}

// check checks that hardly a call was refused, but for those that came late.
func (u *upstream) check(t *testing.T, most int) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	t.Logf("%d refused, %d late", u.refused, u.late)
	if u.refused > most+u.late {
		t.Errorf("got %d refusals, want %d at most and %d for calls that came late", u.refused, most, u.late)
	}
}

// A fleet is replicas that share a store and call one upstream.
type fleet struct {
	t        *testing.T
	replicas []*limiter.Limiter
	stores   []*Store
	requests atomic.Int64
	failed   atomic.Int64
	upstream upstream
}

func newFleet(t *testing.T, urls ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, upstream: upstream{tick: time.Now()}}
	for _, url := range urls {
		s, err := Open(Config{URL: url, Egress: "fleet", Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		s.Watch(func(_ time.Duration, failed bool) {
			f.requests.Add(1)
			if failed {
				f.failed.Add(1)
			}
		})
		f.stores = append(f.stores, s)
		f.replicas = append(f.replicas, limiter.New(limiter.Config{
			Plan: func(string) limiter.Plan { return tenfold }, Depth: 1000, Store: s,
		}))
	}
	for _, s := range f.stores {
		eventually(t, "all replicas know of all", func() bool { return s.State().Replicas == len(urls) })
	}
	return f
}

// call makes one call until it is accepted.
func (f *fleet) call(replica int, client string) {
	r := limiter.Request{Upstream: "u", Client: client, Wait: time.Hour}
	for {
		s, err := f.replicas[replica].Acquire(f.t.Context(), r)
		if err != nil {
			f.t.Errorf("replica %d: got %v, want a slot", replica, err)
			return
		}
		slot := time.Now()
		time.Sleep(10 * time.Millisecond)
		if r.Refused = f.upstream.arrive(slot); !r.Refused {
			time.Sleep(10 * time.Millisecond)
			s.Answered(limiter.Accepted)
			return
		}
		s.Answered(limiter.Refused)
	}
}

// all makes so many calls at once and returns how long they took.
func (f *fleet) all(n int) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f.call(i%len(f.replicas), fmt.Sprint(i)) })
	}
	wg.Wait()
	return time.Since(began)
}

// Replicas use the limit together about as well as one alone, and are not refused: 98 %
// of it on a quiet machine, with about one request to the store for each call. The bounds
// leave room for a busy one, and more where it is so busy that requests to a server beside
// take longer than the bound.
func TestFleetKeepsOneLimit(t *testing.T) {
	const calls = 250
	least := time.Duration(float64(calls-tenfold.Burst) / tenfold.Rate * float64(time.Second))
	for n, used := range map[int]float64{2: 0.75, 5: 0.75} {
		t.Run(fmt.Sprintf("%d replicas", n), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, slices.Repeat([]string{storetest.StartRedis(t).URL}, n)...)
			before := f.requests.Load()
			took := f.all(calls)
			t.Logf("%v, %.1f %% of the limit used, %.2f requests a call", took, 100*least.Seconds()/took.Seconds(), float64(f.requests.Load()-before)/calls)
			if n := f.failed.Load(); n > 0 {
				t.Logf("%d requests took longer than %v", n, limiter.SyncBound)
				used = 0.3
			}
			if least.Seconds() < used*took.Seconds() {
				t.Errorf("got %v, want %v %% of the limit used: %v is the least", took, 100*used, least)
			}
			f.upstream.check(t, 0)
		})
	}
}

// Whatever happens to the server, or to the connection of one of two replicas, in the
// middle of the load, no call fails, and hardly one is refused.
func TestFleetInTrouble(t *testing.T) {
	const calls, mostRefused = 150, 3
	for name, trouble := range map[string]func(t *testing.T, p *storetest.Redis, w *wire){
		"the server is killed": func(_ *testing.T, p *storetest.Redis, _ *wire) { p.Kill() },
		"the server is killed and begins anew": func(t *testing.T, p *storetest.Redis, _ *wire) {
			p.Kill()
			time.Sleep(2 * time.Second)
			p.Restart(t)
		},
		"the server loses everything": func(t *testing.T, p *storetest.Redis, _ *wire) { t.Helper(); p.Do(t, "flushall") },
		"the server stands still for two seconds": func(_ *testing.T, p *storetest.Redis, _ *wire) {
			p.Signal(syscall.SIGSTOP)
			time.Sleep(2 * time.Second)
			p.Signal(syscall.SIGCONT)
		},
		"the server is full for two seconds": func(t *testing.T, p *storetest.Redis, _ *wire) {
			p.Do(t, "config", "set", "maxmemory", "1")
			time.Sleep(2 * time.Second)
			p.Do(t, "config", "set", "maxmemory", "0")
		},
		"the server's scripts are gone": func(t *testing.T, p *storetest.Redis, _ *wire) { p.Do(t, "script", "flush") },
		"one replica is cut off":        func(_ *testing.T, _ *storetest.Redis, w *wire) { w.cut() },
		"one replica is cut off for two seconds": func(_ *testing.T, _ *storetest.Redis, w *wire) {
			w.cut()
			time.Sleep(2 * time.Second)
			w.mend()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := storetest.StartRedis(t)
			w := newWire(t, strings.TrimPrefix(p.URL, "redis://"))
			f := newFleet(t, p.URL, w.url)
			done := make(chan struct{})
			go func() {
				defer close(done)
				time.Sleep(time.Second)
				trouble(t, p, w)
			}()
			took := f.all(calls)
			<-done
			t.Log(took)
			f.upstream.check(t, mostRefused)
		})
	}
}

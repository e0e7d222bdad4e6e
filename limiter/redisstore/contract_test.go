package redisstore

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// A server is where a store under test keeps its buckets.
type server struct {
	url   string
	flush func()
	pass  func(time.Duration) // expires keys, too
}

// onMiniredis starts a server in this process.
func onMiniredis(t *testing.T) server {
	t.Helper()
	m := miniredis.RunT(t)
	return server{"redis://" + m.Addr(), m.FlushAll, func(d time.Duration) {
		time.Sleep(d)
		m.FastForward(d)
	}}
}

// onRedis starts a real redis-server on a free port, for this test.
func onRedis(t *testing.T) server {
	t.Helper()
	r := storetest.StartRedis(t)
	return server{r.URL, func() { r.Do(t, "flushall") }, time.Sleep}
}

// replicas makes stores by name, with the given clock.
func (s server) replicas(t *testing.T, now func() time.Time) storetest.Harness {
	t.Helper()
	var mu sync.Mutex
	stores := make(map[string]*Store)
	return storetest.Harness{Flush: s.flush, Replica: func(name string) limiter.Store {
		mu.Lock()
		defer mu.Unlock()
		if stores[name] == nil {
			store, err := newStore(Config{URL: s.url, Egress: "test", Log: quiet}, patience)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.client.Close() })
			store.name, store.now = name, now
			stores[name] = store
		}
		return bare{stores[name]}
	}}
}

// bare is a store that does not beat, so its replicas do not know of each other.
type bare struct{ *Store }

func (b bare) Sync(r limiter.Report) (limiter.Reply, error) {
	return b.ask(context.Background(), r, true)
}

// patience is the bound in tests that do not test it: the machine may be busy.
const patience = 10 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// mustOpen opens a store that the test closes.
func mustOpen(tb testing.TB, c Config) *Store {
	tb.Helper()
	if c.Log == nil {
		c.Log = quiet
	}
	s, err := open(c, patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

var servers = map[string]func(t *testing.T) server{"miniredis": onMiniredis, "redis-server": onRedis}

// The script does what every store must do.
func TestContract(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				t.Helper()
				s.flush()
				return storetest.New(func(now func() time.Time) storetest.Harness { return s.replicas(t, now) })
			})
		})
	}
}

// The script does what limiter.Memory does, whatever is reported.
func TestScriptIsLikeMemory(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			var h storetest.Harness
			clock := func() time.Time { return time.Time{} }
			h = s.replicas(t, func() time.Time { return clock() })
			storetest.RunAlike(t, func(_ *testing.T, now func() time.Time) storetest.Harness {
				clock = now
				return h
			})
		})
	}
}

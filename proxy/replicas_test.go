package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/replay"
	"b24proxy/proxy/replay/replaytest"
)

// A sharedMemory is the store of proxies in this process.
type sharedMemory struct {
	memory *limiter.Memory
	writes *replaytest.Memory
	heard  []func(text []byte, age time.Duration) // by replica
	kept   map[string]keptNews                    // by subject
}

type keptNews struct {
	text      []byte
	at, until time.Time
}

func (m *sharedMemory) replica(name string) SharedStore {
	m.heard = append(m.heard, nil)
	return &memoryReplica{m.memory.Replica(name), m.writes.Replica(name), m, len(m.heard) - 1}
}

type memoryReplica struct {
	limiter.Store
	replay.Shared
	shared *sharedMemory
	number int
}

func (*memoryReplica) State() limiter.StoreState       { return limiter.StoreState{Up: true, Replicas: 2} }
func (*memoryReplica) Key() []byte                     { return []byte("key") }
func (*memoryReplica) Watch(func(time.Duration, bool)) {}

func (r *memoryReplica) Hear(heard func([]byte, time.Duration)) {
	r.shared.heard[r.number] = heard
	for _, n := range r.shared.kept {
		if time.Now().Before(n.until) {
			heard(n.text, time.Since(n.at))
		}
	}
}

func (r *memoryReplica) Publish(subject string, text []byte, holds time.Duration) {
	r.shared.kept[subject] = keptNews{text, time.Now(), time.Now().Add(holds)}
	for number, heard := range r.shared.heard {
		if number != r.number {
			heard(text, 0)
		}
	}
}

// newReplicas makes proxies with one store, which have the names 0, 1 and so on there.
func newReplicas(t *testing.T, n int, portal http.Handler, edit func(*Config)) (proxies []*Proxy, shared *sharedMemory) {
	t.Helper()
	shared = newSharedMemory()
	for range n {
		proxies = append(proxies, shared.newProxy(t, portal, edit))
	}
	return proxies, shared
}

func newSharedMemory() *sharedMemory {
	return &sharedMemory{memory: limiter.NewMemory(time.Now), writes: replaytest.NewMemory(), kept: make(map[string]keptNews)}
}

func (m *sharedMemory) newProxy(t *testing.T, portal http.Handler, edit func(*Config)) *Proxy {
	t.Helper()
	return newProxy(t, func(c *Config) {
		c.QueueWait, c.Shared = time.Hour, m.replica(fmt.Sprint(len(m.heard)))
		c.OperatingLimit = 480 * time.Second
		if edit != nil {
			edit(c)
		}
	}).behind(portal)
}

// Two proxies with one store keep the limit of a portal together: no call is refused,
// and all of them take hardly longer than they would through one proxy.
func TestProxiesShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		proxies, _ := newReplicas(t, 2, portal, nil)
		began := time.Now()
		var calls sync.WaitGroup
		for i := range 250 {
			calls.Go(func() {
				target := fmt.Sprintf("/rest/%d/PLACEHOLDER/user.current.json", i)
				if w := proxies[i%2].call("GET", target, ""); w.Code != 200 {
					t.Errorf("got %d %s, want 200", w.Code, w.Body)
				}
			})
		}
		calls.Wait()
		if took, least := time.Since(began), 100*time.Second; took > least+5*time.Second {
			t.Errorf("250 calls took %v, want %v and 5 %% at most", took, least)
		}
		if n := portal.Refused(); n > 0 {
			t.Errorf("got %d calls refused, want none", n)
		}
		time.Sleep(2 * time.Minute)
	})
}

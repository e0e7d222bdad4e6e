package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// A sharedMemory is the store of proxies in this process.
type sharedMemory struct {
	memory *limiter.Memory
	heard  []func(text []byte, age time.Duration) // by replica
	kept   map[string]keptNews                    // by subject
}

type keptNews struct {
	text      []byte
	at, until time.Time
}

func (m *sharedMemory) replica(name string) SharedStore {
	m.heard = append(m.heard, nil)
	return &memoryReplica{m.memory.Replica(name), m, len(m.heard) - 1}
}

type memoryReplica struct {
	limiter.Store
	shared *sharedMemory
	number int
}

func (*memoryReplica) State() limiter.StoreState       { return limiter.StoreState{Up: true, Replicas: 2} }
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

// newReplicas makes two proxies with one store.
func newReplicas(t *testing.T, portal http.Handler) (proxies []*Proxy) {
	t.Helper()
	shared := newSharedMemory()
	for range 2 {
		proxies = append(proxies, shared.newProxy(t, portal))
	}
	return proxies
}

func newSharedMemory() *sharedMemory {
	return &sharedMemory{memory: limiter.NewMemory(time.Now), kept: make(map[string]keptNews)}
}

func (m *sharedMemory) newProxy(t *testing.T, portal http.Handler) *Proxy {
	t.Helper()
	return newProxy(t, func(c *Config) {
		c.QueueWait, c.Shared = time.Hour, m.replica(fmt.Sprint(len(m.heard)))
		c.OperatingLimit = 480 * time.Second
	}).behind(portal)
}

// Two proxies with one store keep the limit of a portal together: no call is refused,
// and all of them take hardly longer than they would through one proxy.
func TestProxiesShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		proxies := newReplicas(t, portal)
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

package proxy

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// A sharedMemory is the store of one of several proxies in this process.
type sharedMemory struct{ limiter.Store }

func (sharedMemory) State() limiter.StoreState       { return limiter.StoreState{Up: true, Replicas: 2} }
func (sharedMemory) Watch(func(time.Duration, bool)) {}

// Two proxies with one store keep the limit of a portal together: no call is refused,
// and all of them take hardly longer than they would through one proxy.
func TestProxiesShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal, memory := simulate(t), limiter.NewMemory(time.Now)
		var proxies []*Proxy
		for i := range 2 {
			proxies = append(proxies, newProxy(t, func(c *Config) {
				c.QueueWait, c.Shared = time.Hour, sharedMemory{memory.Replica(fmt.Sprint(i))}
			}).behind(portal))
		}
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

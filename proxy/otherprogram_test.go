package proxy

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Another program that calls the portal from the same address spends half of the limit.
// Ten clients that send one call after the other, with the default patience, see no
// error; what is left of the limit is used; and when the other program has stopped, the
// rate of the plan is in force again within a minute.
func TestBesideAnotherProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		p := newProxy(t, nil).behind(portal)
		var mu sync.Mutex
		served, failed := 0, map[int]int{}
		reset := func() {
			mu.Lock()
			defer mu.Unlock()
			served = 0
		}
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					w := p.call("POST", deal, "{}")
					mu.Lock()
					if w.Code == http.StatusOK {
						served++
					} else {
						failed[w.Code]++
					}
					mu.Unlock()
				}
			})
		}
		gone := make(chan struct{})
		all.Go(func() {
			for {
				select {
				case <-gone:
					return
				case <-time.After(time.Second):
					portal.Spend(1)
				}
			}
		})
		time.Sleep(2 * time.Minute)
		reset()
		before := portal.Refused()
		time.Sleep(10 * time.Minute)
		mu.Lock()
		used, refused := float64(served)/600, float64(portal.Refused()-before)/float64(served+portal.Refused()-before)
		mu.Unlock()
		t.Logf("used %.1f %% of what is left, %.1f %% of the calls refused", 100*used, 100*refused)
		if used < 0.95 || refused > 0.05 {
			t.Errorf("got %.1f %% of what is left used and %.1f %% of the calls refused, want at least 95 and at most 5", 100*used, 100*refused)
		}
		close(gone)
		time.Sleep(time.Minute)
		if s, _ := p.limiter.State("acme.bitrix24.com"); s.Rate != 2 {
			t.Errorf("got the rate %v a minute after the other program has stopped, want 2", s.Rate)
		}
		close(stop)
		all.Wait()
		if len(failed) > 0 {
			t.Errorf("got the errors %v, want none", failed)
		}
		time.Sleep(time.Hour)
	})
}

package proxy

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Somebody who calls the portal directly from the same address spends half of
// the limit. Ten clients that call one call after the other, with the patience
// that is the default, see no error; what is left is used; and when the other
// has gone, the plan's rate is in force again within a minute.
func TestBesideAStranger(t *testing.T) {
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
			t.Error("out of bounds")
		}
		close(gone)
		time.Sleep(time.Minute)
		if s, _ := p.limiter.State("acme.bitrix24.com"); s.Rate != 2 {
			t.Errorf("a minute after the other has gone the rate is %v", s.Rate)
		}
		close(stop)
		all.Wait()
		if len(failed) > 0 {
			t.Errorf("callers saw errors: %v", failed)
		}
		time.Sleep(time.Hour)
	})
}

package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What one proxy learns of operating time its replicas know, also of tokens of an
// application that they have never seen, and of commands within a batch.
func TestReplicasShareOperatingTime(t *testing.T) {
	const impatient, wait = "Prefer", "wait=1"
	for name, c := range map[string]struct {
		portal        func(w http.ResponseWriter, r *http.Request)
		first, second string
	}{
		"a method that has used up its time is held at both": {
			func(w http.ResponseWriter, _ *http.Request) {
				now := time.Now().Unix()
				fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":479,"operating_reset_at":%d}}`, now, now+300)
			},
			"/rest/1/PLACEHOLDER/crm.deal.list", "/rest/1/PLACEHOLDER/crm.deal.list",
		},
		"a method that the portal refuses is held at both": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusTooManyRequests)
				io.WriteString(w, `{"error":"OPERATION_TIME_LIMIT","error_description":"Method is blocked due to operation time limit."}`)
			},
			"/rest/1/PLACEHOLDER/crm.deal.list", "/rest/1/PLACEHOLDER/crm.deal.list",
		},
		"a token that another replica saw counts for its application": {
			func(w http.ResponseWriter, r *http.Request) {
				used, now := 1, time.Now().Unix()
				if r.URL.Path == "/rest/crm.deal.list" {
					used = 479
				}
				w.Header().Set("X-Bitrix-Rest-Application", "app.1")
				fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":%d,"operating_reset_at":%d}}`, now, used, now+300)
			},
			"/rest/user.current?auth=t2\n/rest/crm.deal.list?auth=t1", "/rest/crm.deal.list?auth=t2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				proxies, _ := newReplicas(t, 2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					calls++
					c.portal(w, r)
				}), nil)
				for target := range strings.SplitSeq(c.first, "\n") {
					proxies[0].call("POST", target, "", impatient, wait)
				}
				before := calls
				w := proxies[1].call("POST", c.second, "", impatient, wait)
				if w.Code != 429 || calls != before || w.Header().Get("Retry-After") == "" {
					t.Errorf("at the other replica: got %d %s after %d calls to the portal, want it held with 429", w.Code, w.Body, calls-before)
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// A proxy that starts later holds a method for what is left until its reset, and no
// longer.
func TestReplicaThatStartsLaterKnowsOperatingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		portal := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			used, now := 1, time.Now().Unix()
			if calls.Add(1) == 1 {
				used = 479
			}
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":%d,"operating_reset_at":%d}}`, now, used, now+300)
		})
		shared := newSharedMemory()
		const target = "/rest/1/PLACEHOLDER/crm.deal.list"
		shared.newProxy(t, portal, nil).call("POST", target, "")
		time.Sleep(100 * time.Second)
		later := shared.newProxy(t, portal, nil)
		if w := later.call("POST", target, "", "Prefer", "wait=1"); w.Code != 429 || w.Header().Get("Retry-After") != "200" {
			t.Errorf("got %d %s after %s, want it held for the 200 s that are left", w.Code, w.Body, w.Header().Get("Retry-After"))
		}
		time.Sleep(201 * time.Second)
		if w := later.call("POST", target, "", "Prefer", "wait=1"); w.Code != 200 {
			t.Errorf("after the reset: got %d %s, want 200", w.Code, w.Body)
		}
		if w := shared.newProxy(t, portal, nil).call("POST", target, "", "Prefer", "wait=1"); w.Code != 200 {
			t.Errorf("at a third that starts then: got %d %s, want 200", w.Code, w.Body)
		}
		time.Sleep(2 * time.Minute)
	})
}

// News that cannot be read change nothing.
func TestOddNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newSharedMemory()
		p := newProxy(t, func(c *Config) { c.Shared = shared.replica("0") })
		for _, text := range []string{"", "null", "{", "[]", `{"used":-5}`, `{"used":"x"}`, `{"token":"t"}`, `{"portal":"acme.bitrix24.com"}`} {
			shared.heard[0]([]byte(text), 0)
		}
		if n := p.budgets.List(time.Now(), "acme.bitrix24.com", 9); len(n) > 0 {
			t.Errorf("got %v, want nothing learned", n)
		}
	})
}

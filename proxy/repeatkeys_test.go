package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/b24sim"
)

// A key gives a write of version 2 the meaning that it has in version 3: the stored
// success within 24 hours, whoever received it.
func TestIdempotencyKeyOfVersion2(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		key := func(k, body string) *httptest.ResponseRecorder {
			return p.call("POST", deal, body, "Idempotency-Key", k)
		}
		first := key("k", "{}")
		wantReplayed(t, first, false)
		for range 2 {
			again := key("k", "{}")
			wantReplayed(t, again, true)
			if !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) {
				t.Errorf("got %s, want %s", again.Body, first.Body)
			}
		}
		if w := key("k", `{"a":1}`); w.Code != 422 || errorOf(t, w).Error != "IDEMPOTENCY_KEY_REUSED" || errorOf(t, w).Proxy.Executed != "no" {
			t.Errorf("another call: got %d %s, want 422 IDEMPOTENCY_KEY_REUSED", w.Code, w.Body)
		}
		wantReplayed(t, p.call("POST", "/rest/2/another/crm.deal.add", "{}", "Idempotency-Key", "k"), false)
		wantReplayed(t, key("l", "{}"), false)
		wantReplayed(t, p.call("POST", deal, "{}"), false)
		wantRan(t, sim, 4)
		time.Sleep(24*time.Hour - 10*time.Second)
		wantReplayed(t, key("k", "{}"), true)
		time.Sleep(10 * time.Second)
		wantReplayed(t, key("k", "{}"), false)
	}, "*:slow=900ms")
}

// While the first is under way the second one with its key joins it, also if the first
// caller waits. What did not run may be sent, and what may have run needs another key.
func TestIdempotencyKeyUnderWay(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		var replayed atomic.Int32
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if w := p.call("POST", deal, "{}", "Idempotency-Key", "k"); w.Header().Get("Idempotent-Replayed") == "true" {
					replayed.Add(1)
				}
			})
		}
		all.Wait()
		if replayed.Load() != 4 {
			t.Errorf("got %d of 5 replayed, want 4", replayed.Load())
		}
		wantRan(t, sim, 1)

		sim.SetFaults(faults(t, add+":html:after")...)
		p.call("POST", deal, "{}", "Idempotency-Key", "l")
		time.Sleep(2 * time.Hour)
		wantHeld(t, p.call("POST", deal, "{}", "Idempotency-Key", "l"), "HTML page")
		wantRan(t, sim, 2)
		sim.SetFaults(faults(t, add+":expired_token")...)
		p.call("POST", deal, "{}", "Idempotency-Key", "m")
		sim.SetFaults()
		wantReplayed(t, p.call("POST", deal, "{}", "Idempotency-Key", "m"), false)
		wantReplayed(t, p.call("POST", deal, "{}", "Idempotency-Key", "n"), false)
		wantRan(t, sim, 4)
	}, "*:slow=900ms")
}

// A key that version 3 would not take is refused in version 2 too: its caller believes
// that it protects.
func TestIdempotencyKeyThatIsNone(t *testing.T) {
	guard(t, func(t *testing.T, p *Proxy, sim *b24sim.Portal) {
		t.Helper()
		for name, key := range map[string]string{"empty": "", "too long": strings.Repeat("k", 256), "another alphabet": "ключ"} {
			if w := p.call("POST", deal, "{}", "Idempotency-Key", key); w.Code != 400 || errorOf(t, w).Error != "REQUEST_NOT_READ" {
				t.Errorf("%s: got %d %s, want 400", name, w.Code, w.Body)
			}
			wantReplayed(t, p.call("POST", "/rest/1/code/crm.deal.list", "{}", "Idempotency-Key", key), false)
		}
		wantReplayed(t, p.call("POST", deal, "{}", "Idempotency-Key", "k", "Connection", "Idempotency-Key"), false)
		wantReplayed(t, p.call("POST", deal, "{}", "Idempotency-Key", "k", "Connection", "Idempotency-Key"), false)
		wantRan(t, sim, 2)
	})
}

// A token that was refreshed is the same application where an answer has said so: in
// the header, the query and the body.
func TestKeyOfARefreshedToken(t *testing.T) {
	token := func(n int) string { return fmt.Sprintf("%064d", n) }
	for name, send := range map[string]func(p *Proxy, token, method, key string) *httptest.ResponseRecorder{
		"header": func(p *Proxy, token, method, key string) *httptest.ResponseRecorder {
			return p.call("POST", "/rest/"+method, "{}", "Authorization", "Bearer "+token, "Idempotency-Key", key)
		},
		"query": func(p *Proxy, token, method, key string) *httptest.ResponseRecorder {
			return p.call("POST", "/rest/"+method+"?auth="+token, "{}", "Idempotency-Key", key)
		},
		"body": func(p *Proxy, token, method, key string) *httptest.ResponseRecorder {
			return p.call("POST", "/rest/"+method, `{"auth":"`+token+`"}`, "Content-Type", "application/json", "Idempotency-Key", key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, ran := answeringSlowly(http.Header{"X-Bitrix-Rest-Application": {"app.1"}}, `{"result":1}`)
				p := newProxy(t, guarded).behind(h)
				wantReplayed(t, send(p, token(1), add, "k"), false)
				wantReplayed(t, send(p, token(1), add, "k"), true)
				wantReplayed(t, send(p, token(2), add, "k"), false) // nobody knows yet whose it is
				send(p, token(3), "crm.deal.list", "")
				wantReplayed(t, send(p, token(3), add, "k"), true)
				if n := ran.Load(); n != 3 {
					t.Errorf("got %d calls at the portal, want 3", n)
				}
			})
		})
	}
}

package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// get asks the admin handler.
func (p *Proxy) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8081"
	p.Admin().ServeHTTP(w, r)
	return w
}

// longestWait is what /status says of the last minute of the only portal.
func (p *Proxy) longestWait(t *testing.T) (seconds float64) {
	t.Helper()
	var s struct {
		Portals []struct {
			LastMinute struct {
				Longest float64 `json:"longest_wait_seconds"`
			} `json:"last_minute"`
		}
	}
	if err := json.Unmarshal(p.get("/status").Body.Bytes(), &s); err != nil || len(s.Portals) != 1 {
		t.Fatalf("%v, %d portals, want one", err, len(s.Portals))
	}
	return s.Portals[0].LastMinute.Longest
}

// Health and readiness.
func TestAdmin(t *testing.T) {
	p := newProxy(t, nil)
	get := func(path string) int { return p.get(path).Code }
	if get("/healthz") != 200 || get("/readyz") != 200 || get("/metrics") != 200 || get("/debug/pprof/") != 404 {
		t.Error("healthz, readyz, metrics, no profiles")
	}
	p.calls.close()
	if get("/healthz") != 200 || get("/readyz") != 503 {
		t.Error("a draining proxy is alive and not ready")
	}
}

// The names in /status are what programs rely on.
func TestStatusShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "crm.deal.update:INTERNAL_SERVER_ERROR")
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
		for range 49 {
			p.call("POST", deal, "{}", "B24-Client", "crm-sync")
		}
		p.call("POST", hook+"/crm.deal.update", "{}", "X-Request-Id", "lost-1")
		for range 3 {
			go p.call("POST", deal, "{}", "B24-Client", "crm-sync", "Priority", "u=1")
		}
		synctest.Wait()
		w := p.get("/status")
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
			t.Errorf("Content-Type %q", got)
		}
		var s struct {
			Proxy   map[string]any
			Store   map[string]any
			Portals []map[string]any
		}
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || len(s.Portals) != 1 {
			t.Fatalf("%v: %s", err, w.Body)
		}
		one := s.Portals[0]
		var names []string
		for name := range one {
			names = append(names, name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "breaker_open bucket errors last_failure last_minute last_seen operating plan portal queue series state usage why" {
			t.Errorf("a portal has %s", got)
		}
		bucket, queue := one["bucket"].(map[string]any), one["queue"].(map[string]any)
		if one["portal"] != "acme.bitrix24.com" || one["plan"] != "standard" || bucket["burst"] != 50.0 || bucket["level"].(float64) < 48 ||
			queue["waiting"] != 3.0 || fmt.Sprint(queue["by_client"]) != "[map[client:crm-sync waiting:3]]" || fmt.Sprint(queue["by_urgency"]) != "[0 3 0 0 0 0 0 0]" {
			t.Errorf("%v", one)
		}
		if last := fmt.Sprint(one["errors"].(map[string]any)["last"]); !strings.Contains(last, "code:INTERNAL_SERVER_ERROR") || !strings.Contains(last, "request_id:lost-1") || !strings.Contains(last, "method:crm.deal.update") {
			t.Errorf("last errors: %s", last)
		}
		if s.Store["kind"] != "memory" || s.Proxy["mode"] != "enforce" {
			t.Errorf("%v %v", s.Store, s.Proxy)
		}
		time.Sleep(time.Minute)
	})
}

// A change of a portal's state is logged once, with the request that met it.
func TestChangesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		portal := simulate(t, "*:OVERLOAD_LIMIT")
		p := newProxy(t, func(c *Config) { c.Log = debugLog(&log); c.QueueWait = 0 }).behind(portal)
		go p.operator.Watch(t.Context())
		for i := range 3 {
			p.call("POST", deal, "", "X-Request-Id", fmt.Sprint("call-", i))
			time.Sleep(5 * time.Second)
		}
		portal.SetFaults()
		time.Sleep(time.Minute)
		p.call("POST", deal, "")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for text, want := range map[string]int{
			"the portal blocks all calls for overload": 1, "no longer blocked": 1, "request_id=call-0": 2,
		} {
			n := 0
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, text) && (strings.Contains(line, "blocks all") || strings.Contains(line, "no longer") || strings.Contains(line, "msg=call")) {
					n++
				}
			}
			if n != want {
				t.Errorf("%q stands %d times, want %d:\n%s", text, n, want, log.String())
			}
		}
	})
}

// A panic while an operator is answered is logged at ERROR with the request's id.
func TestAdminPanic(t *testing.T) {
	var log bytes.Buffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) })
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "localhost"
	r.Header.Set("X-Request-Id", "r1")
	withoutPanics(p.journal, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") })).ServeHTTP(w, r)
	if text := log.String(); w.Code != 500 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "request_id=r1") {
		t.Errorf("%d, the log: %s", w.Code, text)
	}
}

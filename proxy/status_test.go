package proxy

import (
	"bufio"
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

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// get asks the admin handler.
func (p *Proxy) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "127.0.0.1:8081"
	p.Admin().ServeHTTP(w, r)
	return w
}

// A series counts by interval since the process began, shows the last minute,
// and forgets what is older than its ring.
func TestSeries(t *testing.T) {
	var s series
	for i := range 120 { // a call a second for two minutes
		s.at(time.Duration(i)*time.Second).calls++
	}
	since := 119 * time.Second
	if got := s.lastMinute(since).calls; got != 65 {
		t.Errorf("%d calls in the last minute and the interval that goes on", got)
	}
	shown := s.status(since, epochAt(119))
	if len(shown.Calls) != seriesSteps || shown.Calls[seriesSteps-1] != 5 || shown.Calls[seriesSteps-23] != 5 || shown.Calls[0] != 0 {
		t.Errorf("shown: %v", shown.Calls)
	}
	if !shown.End.Equal(epochAt(115)) {
		t.Errorf("the intervals end at %v", shown.End)
	}
	for i := 120; i < 400; i++ {
		s.at(time.Duration(i)*time.Second).calls++
	}
	if shown := s.status(399*time.Second, epochAt(399)); slices.Min(shown.Calls[:]) != 5 || slices.Max(shown.Calls[:]) != 5 {
		t.Errorf("of a call a second for five minutes are shown %v", shown.Calls)
	}
	if sum := s.lastMinute(1000 * time.Second).calls; sum != 0 {
		t.Errorf("%d calls a quarter of an hour later", sum)
	}
}

// A wall clock that is set changes no interval and no span: only what is shown
// as an instant.
func TestStatusAfterTheClockWasSet(t *testing.T) {
	var s series
	s.at(0).calls++
	for _, wall := range []time.Time{epochAt(-1_000_000), epochAt(1_000_000)} {
		if shown := s.status(5*time.Second, wall); shown.Calls[seriesSteps-1] != 1 || !shown.End.Equal(wall) {
			t.Errorf("at %v: %v until %v", wall, shown.Calls, shown.End)
		}
	}
	began := time.Now()
	h := newHistory(began)
	h.note(began.Add(time.Second), PortalUnreachable{Call: Call{Portal: acme}})
	status := portalStatus{Portal: "acme.bitrix24.com", Operating: []operatingStatus{{Method: "crm.deal.list", ClosedUntil: epochAt(-1_000_000), closedFor: 58 * time.Second}}}
	if state, why := status.judge(); state != isHolding || !strings.Contains(why, "58s") {
		t.Errorf("%s: %s", state, why)
	}
	h.describe(began.Add(59*time.Second), &status)
	status.UnreachableSince = epochAt(1_000_000) // as a wall clock would have it
	if state, why := status.judge(); state != isUnreachable || !strings.Contains(why, "58s") {
		t.Errorf("%s: %s", state, why)
	}
}

// The errors of a portal are listed by when they came, the newest first,
// whatever the wall clock said then.
func TestCodesInTheirOrder(t *testing.T) {
	h := newHistory(epochAt(0))
	for i, code := range []bitrix24.Code{"INVALID_REQUEST", "expired_token", "ERROR_CORE", "INVALID_REQUEST"} {
		h.note(epochAt(-100*i), ErrorSeen{Call: Call{Portal: acme}, Code: code, Source: metrics.FromPortal})
	}
	s := portalStatus{Portal: "acme.bitrix24.com"}
	h.describe(epochAt(1), &s)
	var got []string
	for _, c := range s.Errors.ByCode {
		got = append(got, c.Code)
	}
	if want := "INVALID_REQUEST ERROR_CORE expired_token"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func epochAt(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

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
		if got := strings.Join(names, " "); got != "breaker_open bucket errors last_failure last_minute last_seen operating plan portal queue series state why" {
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

// What is remembered is bounded, and goes an hour after the last call.
func TestHistoryIsBounded(t *testing.T) {
	h := newHistory(epochAt(0))
	now := epochAt(0)
	for i := range 2000 {
		portal := fmt.Sprintf("p%d.bitrix24.com", i)
		for n := range 40 {
			h.note(now, ErrorSeen{Call: Call{Portal: portal}, Code: bitrix24.Code(fmt.Sprintf("CODE_%d", n)), Source: metrics.FromPortal})
		}
		h.note(now, CallEnded{Call: Call{Portal: portal}, Outcome: metrics.PortalError, Code: "CODE_1"})
	}
	if n := len(h.names()); n != keptPortals {
		t.Errorf("%d portals are remembered", n)
	}
	var s portalStatus
	s.Portal = h.names()[0]
	h.describe(now, &s)
	if len(s.Errors.ByCode) != keptCodes || len(s.Errors.Last) != keptErrors {
		t.Errorf("%d codes and %d errors of a portal", len(s.Errors.ByCode), len(s.Errors.Last))
	}
	h.sample(now.Add(keptFor), nil)
	if n := len(h.names()); n != keptPortals {
		t.Errorf("after an hour %d portals are remembered", n)
	}
	h.sample(now.Add(keptFor+1), nil)
	if n := len(h.names()); n != 0 {
		t.Errorf("an hour later %d portals are remembered", n)
	}
}

// What a portal sends as a code may be anything; operators see what is spelt as
// one.
func TestShownCode(t *testing.T) {
	for code, want := range map[string]string{
		"QUERY_LIMIT_EXCEEDED": "QUERY_LIMIT_EXCEEDED", " error_core ": "other", "ERROR_CORE": "ERROR_CORE", "": "empty", "200040300020": "200040300020",
		"1234567890123": "numeric", "<b>": "other", "aBcD1234efgh5678": "other", "expired_token": "expired_token",
		"A": "A", "Z": "Z", strings.Repeat("A", 64): strings.Repeat("A", 64), strings.Repeat("A", 65): "other", "123456789012": "123456789012",
	} {
		if got := shownCode(bitrix24.Code(code)); got != want {
			t.Errorf("%q is shown as %q, want %q", code, got, want)
		}
	}
}

// The page and its parts come with a policy that lets nothing else in.
func TestPageFiles(t *testing.T) {
	p := newProxy(t, nil)
	for path, contentType := range map[string]string{"/": "text/html", "/page/page.css": "text/css", "/page/page.js": "text/javascript", "/page/icon.svg": "image/svg+xml"} {
		w := p.get(path)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), contentType) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, outside := range []string{"src=\"http", "href=\"http", "url(http", "innerHTML", "style=\""} {
			if strings.Contains(w.Body.String(), outside) {
				t.Errorf("%s holds %s", path, outside)
			}
		}
	}
	if w := p.get("/page/../go.mod"); w.Code == 200 {
		t.Error("a file outside is served")
	}
}

// The stream begins at once, and ends when the proxy stops.
func TestEvents(t *testing.T) {
	p := newProxy(t, nil)
	server := httptest.NewServer(p.Admin())
	defer server.Close()
	resp := must(http.Get(server.URL + "/events"))
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	if data, ok := strings.CutPrefix(lines.Text(), "data: "); !ok || !json.Valid([]byte(data)) {
		t.Errorf("got %q", lines.Text())
	}
	p.watchers.publish([]byte(`{"second":true}`))
	p.watchers.close()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if got := strings.Join(rest, "|"); got != `|data: {"second":true}||event: end|data: |` {
		t.Errorf("then %q", got)
	}
	if w := p.get("/events"); w.Code != 503 {
		t.Errorf("after the stop: %d", w.Code)
	}
}

// A change of a portal's state is logged once, with the request that met it.
func TestChangesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		portal := simulate(t, "*:OVERLOAD_LIMIT")
		p := newProxy(t, func(c *Config) { c.Log = debugLog(&log); c.QueueWait = 0 }).behind(portal)
		changes := make(changes)
		look := func() {
			for range 5 {
				states := p.limiter.States()
				for i := range states {
					p.look(time.Now(), changes, &states[i])
				}
			}
		}
		for i := range 3 {
			p.call("POST", deal, "", "X-Request-Id", fmt.Sprint("call-", i))
			look()
		}
		portal.SetFaults()
		time.Sleep(time.Minute)
		p.call("POST", deal, "")
		look()
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

// A rate that is lowered, and one that has recovered, is logged once, and the
// status that is sent says nothing in the log.
func TestLoweredRateIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) })
	changes := make(changes)
	for _, rate := range []float64{2, 2, 1, 1.5, 2, 2} {
		p.look(epochAt(0), changes, &limiter.State{Upstream: "acme.bitrix24.com", Plan: limiter.Standard, Rate: rate})
	}
	p.snapshot()
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "the rate was lowered") || !strings.Contains(text, "the rate has recovered") {
		t.Error(text)
	}
}

// A method whose time is over at this moment is not held.
func TestHeldUntilNow(t *testing.T) {
	for left, want := range map[time.Duration]string{0: isIdle, 1: isHolding, -time.Hour: isIdle} {
		s := portalStatus{Operating: []operatingStatus{{closedFor: left}}}
		if state, _ := s.judge(); state != want {
			t.Errorf("closed for another %v: %s, want %s", left, state, want)
		}
	}
}

func TestRoundTo(t *testing.T) {
	if got := roundTo(1.23456, 3); got != 1.235 {
		t.Errorf("got %v", got)
	}
}

// The request that stands beside a change is one that the portal refused, not
// one that the proxy rejected later, for the same code.
func TestChangesNameTheRefusedCall(t *testing.T) {
	h := newHistory(epochAt(0))
	for i, source := range []metrics.Source{metrics.FromPortal, metrics.FromProxy, metrics.FromBatch} {
		h.note(epochAt(i), ErrorSeen{Call: Call{Portal: acme, RequestID: string(source)}, Code: "QUERY_LIMIT_EXCEEDED", Source: source})
	}
	if got := h.requestOf("acme.bitrix24.com", bitrix24.CategoryRateLimit); got != "portal" {
		t.Errorf("the request of %q is named", got)
	}
}

// That a portal cannot be reached is logged once, and once that it can again.
func TestUnreachableIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newOperator(&Config{Log: debugLog(&log)}, time.Now())
		for i := range 5 {
			o.Record(PortalUnreachable{Call{Portal: acme, RequestID: fmt.Sprint("r", i)}, "connection refused"})
			time.Sleep(2 * time.Second)
		}
		for i := range 5 {
			o.Record(PortalReached{Call{Portal: acme, RequestID: fmt.Sprint("s", i)}})
		}
		text := log.String()
		if strings.Count(text, "cannot be reached") != 1 || strings.Count(text, "reachable again") != 1 || !strings.Contains(text, "request_id=r0") || !strings.Contains(text, "after=10s") {
			t.Error(text)
		}
	})
}

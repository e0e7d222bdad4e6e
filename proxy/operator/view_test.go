package operator

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// markup is what a portal or a client might send to get into the page.
const markup = `"><img src=x onerror="document.title='owned'"><script>owned()</script>`

// newBusyOperator makes an operator of a proxy with a portal that fails, one
// whose calls wait, and one that is idle.
func newBusyOperator(t *testing.T) *Operator {
	t.Helper()
	plan := limiter.Plan{Rate: 10, Burst: 50}
	busy := Portal{
		State:   limiter.State{Upstream: "busy.example.com", Plan: plan, Rate: 10, Level: 48.6, Capacity: 1000, Wait: 12 * time.Second},
		Clients: map[string]int{"crm-sync": 1200, markup: 34},
		Budgets: []operating.State{{Key: operating.Key{Method: markup, Credential: "webhook 4c959e96dd0f"}, Used: 470 * time.Second, Ratio: 0.98}},
	}
	busy.Waiting[3] = 1234
	failing := Portal{State: limiter.State{Upstream: "failing.example.com", Plan: limiter.Unlimited}}
	idle := Portal{State: limiter.State{Upstream: "idle.example.com", Plan: plan, Rate: 10}}
	o := newTestOperator(t, func(c *Config) {
		c.Version, c.Mode = "v1.2.3", Observe
		c.Snapshot = func() Snapshot { return Snapshot{Listen: "[::]:8080"} }
		c.Portals = func(time.Time, []string) []Portal { return []Portal{idle, busy, failing} }
	})
	for _, portal := range []string{"busy.example.com", "idle.example.com"} {
		o.Record(PortalReached{Call{Portal: portal}})
	}
	for _, client := range []string{"crm-sync", "webhook 4c959e96dd0f"} {
		o.Record(CallEnded{Call: Call{Portal: "busy.example.com", Client: client, API: listCall}, Outcome: metrics.OK, Attempts: 1})
	}
	call := Call{Portal: "failing.example.com", RequestID: "request-1", API: bitrix24.Call{Method: "crm.deal.add"}}
	o.Record(ErrorSeen{Call: call, Source: metrics.FromPortal, Code: "INTERNAL_SERVER_ERROR"})
	o.Record(CallEnded{Call: call, Outcome: metrics.PortalError, Code: "INTERNAL_SERVER_ERROR", IsError: true, Source: metrics.FromPortal, Reason: "internal"})
	o.Record(ErrorSeen{Source: metrics.FromProxy, Code: "PORTAL_NOT_NAMED", IsOurs: true})
	return o
}

// page is what the HTML alone shows to somebody without JavaScript: its text.
func page(t *testing.T, o *Operator, query string) string {
	t.Helper()
	w := o.get("/"+query, "admin.internal:8081")
	if w.Code != 200 {
		t.Fatalf("got %d, want 200: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

var tag = regexp.MustCompile(`<[^>]*>`)

func textOf(html string) string {
	return strings.Join(strings.Fields(tag.ReplaceAllString(html, " ")), " ")
}

// The HTML alone, without its script, shows the portals with the worst first,
// their states and sentences, and what they hold.
func TestPageWithoutScript(t *testing.T) {
	text := textOf(page(t, newBusyOperator(t), ""))
	rest := text
	for _, want := range []string{
		"v1.2.3 · observe · up", "as of", "UTC",
		"1 portal in trouble: failing.example.com",
		"Mode observe: the limits are not enforced.",
		"Calls peak",
		"failing.example.com failing 1 of 1 calls failed in the last minute. The last failure: INTERNAL_SERVER_ERROR from the portal (internal).", "unlimited",
		"INTERNAL_ SERVER_ ERROR",
		"busy.example.com queueing 1234 calls wait; a new call would wait about 12 s.", "48.6 of 50", "1,234 12 s",
		"idle.example.com idle No calls in the last minute.", "0 of 50",
		"1 request named no allowed portal or had no client key, the last", "PORTAL_ NOT_ NAMED",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is not on the page, or not in this place:\n%s", want, text)
		}
		rest = after
	}
}

// Before the first call the page says how to make one, under the host name that
// its reader uses.
func TestPageWithoutCalls(t *testing.T) {
	for listen, want := range map[string]string{
		"[::]:8080":      "http://admin.internal:8080/rest/profile?auth=TOKEN",
		"127.0.0.1:9000": "http://admin.internal:9000/rest/profile?auth=TOKEN",
	} {
		o := newTestOperator(t, func(c *Config) { c.Snapshot = func() Snapshot { return Snapshot{Listen: listen} } })
		if text := textOf(page(t, o, "")); !strings.Contains(text, "No calls yet") || !strings.Contains(text, want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
	}
	s := &status{Proxy: proxyStatus{Listen: "[::]:8080"}}
	if got, want := s.clients("[::1]:8081"), "http://[::1]:8080"; got != want {
		t.Errorf("by an address of IPv6: got %s, want %s", got, want)
	}
}

// The page says how many replicas share the store. While it is away, the page says so
// above all else, since when, and what that means. Without a store it says neither.
func TestPageWithSharedStore(t *testing.T) {
	since := time.Now().Add(-12 * time.Second)
	for _, c := range []struct {
		state  *limiter.StoreState
		fact   string
		notice string
	}{
		{nil, "state in memory", ""},
		{&limiter.StoreState{Up: true, Replicas: 1}, "store shared by 1 replica", ""},
		{&limiter.StoreState{Up: true, Replicas: 2}, "store shared by 2 replicas", ""},
		{&limiter.StoreState{Since: since, Replicas: 2}, "shared store away", "The shared store has been away for 12 s. This replica goes on alone with its share of the limits, which is shown here. When it was last reached, 2 replicas shared it."},
		{&limiter.StoreState{Since: since}, "shared store away", "The shared store has been away for 12 s. This replica goes on alone with its share of the limits, which is shown here. It has not been reached since this replica started."},
	} {
		o := newTestOperator(t, func(config *Config) {
			if c.state != nil {
				config.Store, config.Shared = InRedis, func() limiter.StoreState { return *c.state }
			}
		})
		v := newView(o.status(), choiceOf(nil), "localhost")
		if !strings.HasSuffix(v.Facts, " · "+c.fact) || v.Notice != c.notice {
			t.Errorf("%+v: got %q and %q, want %q and %q", c.state, v.Facts, v.Notice, c.fact, c.notice)
		}
	}
}

// The query opens rows and sorts them; the links of the page lead to the queries.
func TestPageByQuery(t *testing.T) {
	o := newBusyOperator(t)
	if strings.Contains(page(t, o, ""), "Waiting calls by client") {
		t.Error("a row is open, and nobody opened it")
	}
	html := page(t, o, "?sort=portal&open=busy.example.com")
	text := textOf(html)
	for _, want := range []string{"Calls by client", "crm-sync 1 1 1 0", "A name such as webhook 842ad73a6f96 changes when the proxy restarts.", "Waiting calls by client", "crm-sync 1,200", "470 s", "u=3: 1,234", "Overload block none"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the open row:\n%s", want, text)
		}
	}
	for _, want := range []string{
		`aria-sort="ascending"><a href="?open=busy.example.com&amp;sort=-portal">Portal</a>`,
		`aria-sort="none"><a href="?open=busy.example.com">State</a>`,
		`<a href="?sort=portal" aria-expanded="true"><span>busy.example.com`,
		`<a href="?open=busy.example.com&amp;open=idle.example.com&amp;sort=portal" aria-expanded="false"><span>idle.example.com`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("%s is not on the page", want)
		}
	}
}

// Each heading sorts by its column: numbers with the most first, and the other
// way round when it is chosen again. Equals stay with the worst first.
func TestSorted(t *testing.T) {
	now := time.Now()
	portals := []portalStatus{
		{Portal: "b", State: isFailing, Bucket: &bucketStatus{Level: 1, Burst: 10}, LastMinute: minuteStatus{Calls: 2, Failed: 1}, Errors: errorsStatus{Last: []errorStatus{{At: now}}}},
		{Portal: "c", State: isQueueing, Bucket: &bucketStatus{Level: 9, Burst: 10}, Queue: queueStatus{Waiting: 3, WaitSeconds: 1}, LastMinute: minuteStatus{Calls: 5}},
		{Portal: "a", State: isOK, LastMinute: minuteStatus{Calls: 5}, Errors: errorsStatus{Last: []errorStatus{{At: now.Add(1)}}}},
	}
	for sort, want := range map[string]string{
		"": "bca", "unknown": "bca", "-unknown": "bca", "state": "bca", "-state": "acb", "portal": "abc", "-portal": "cba",
		"-bucket": "cba", "bucket": "abc", "-waiting": "cba", "-wait": "cba", "-calls": "cab", "calls": "bca", "-failed": "bca", "-error": "abc",
	} {
		var got string
		for _, p := range choiceOf(url.Values{"sort": {sort}}).sorted(portals) {
			got += p.Portal
		}
		if got != want {
			t.Errorf("sorted by %q: got %s, want %s", sort, got, want)
		}
	}
}

// Nothing that a portal, a client or a viewer sends is markup on the page.
func TestMarkupOfOthers(t *testing.T) {
	o := newBusyOperator(t)
	o.Record(PortalMoved{Call{Portal: "busy.example.com"}, markup})
	o.Record(ErrorSeen{Call: Call{Portal: "busy.example.com", RequestID: markup, API: bitrix24.Call{Method: markup}}, Code: markup, Source: metrics.FromPortal})
	query := "?" + url.Values{"sort": {markup}, "open": {"busy.example.com", markup}}.Encode()
	html := page(t, o, query)
	if strings.Contains(html, "<img") || strings.Contains(html, "<script>") || !strings.Contains(html, "&lt;img src=x onerror=") {
		t.Errorf("the markup of others is in the page, or is not shown as text:\n%s", html)
	}
}

// The page has the worst portals, and says how many more there are.
func TestPageIsBounded(t *testing.T) {
	s := &status{Series: new(seriesStatus), Known: shownPortals + 3}
	for i := range s.Known {
		s.Portals = append(s.Portals, portalStatus{Portal: fmt.Sprintf("p%03d.example.com", i), State: isOK, Series: new(seriesStatus)})
	}
	v := newView(s, choiceOf(nil), "localhost")
	if len(v.Rows) != shownPortals || v.More != "3 portals in a better state are not shown here. The JSON has all." || v.Verdict.Text != "All 203 portals are OK" {
		t.Errorf("got %d rows, %q, %q", len(v.Rows), v.More, v.Verdict.Text)
	}
}

// The verdict names what is worst in one sentence.
func TestVerdict(t *testing.T) {
	of := func(states ...state) (portals []portalStatus) {
		for i, s := range states {
			portals = append(portals, portalStatus{Portal: string(rune('a' + i)), State: s})
		}
		return portals
	}
	for _, c := range []struct {
		portals []portalStatus
		want    verdict
	}{
		{of(isOK), verdict{"The portal is OK", plain}},
		{of(isOK, isIdle), verdict{"All 2 portals are OK", ""}},
		{of(isSlowed, isOK), verdict{"1 portal under strain: a", "warn"}},
		{of(isBlocked, isUnreachable, isFailing, isFailing, isHolding), verdict{"4 portals in trouble: a, b, c and 1 more", "bad"}},
	} {
		if got := newVerdict(c.portals, len(c.portals)); *got != c.want {
			t.Errorf("got %q, want %q", *got, c.want)
		}
	}
}

// What is held back, refused or counted of a method's operating time is said with
// the time at which that changes.
func TestOperatingView(t *testing.T) {
	at := time.Date(2026, 11, 28, 17, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		b     operatingStatus
		until string
		tone  tone
	}{
		{operatingStatus{Ratio: 0.5}, "open", ""},
		{operatingStatus{Ratio: 0.9}, "open", "warn"},
		{operatingStatus{Ratio: 0.5, ResetAt: at}, "falls at 17:30:00 UTC", ""},
		{operatingStatus{Ratio: 1, closedFor: time.Second, ClosedUntil: at}, "held back until 17:30:00 UTC", "bad"},
		{operatingStatus{Ratio: 1, closedFor: time.Second, ClosedUntil: at, Blocked: true}, "refused by the portal until 17:30:00 UTC", "bad"},
	} {
		if got := newOperatingView(c.b); got.Until != c.until || got.Fill.Tone != c.tone {
			t.Errorf("%+v: got %q in %q, want %q in %q", c.b, got.Until, got.Fill.Tone, c.until, c.tone)
		}
	}
}

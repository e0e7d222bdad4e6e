package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
)

const (
	hook = "/rest/1/hookcode0123456"
	deal = hook + "/crm.deal.add"
)

// Of four times the burst at once the portal refuses no call and none fails. They take
// the least possible time, and what the margin costs.
func TestBurstIsNeverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		p := newProxy(t, func(c *Config) { c.QueueWait = time.Hour }).behind(portal)
		began := time.Now()
		var calls sync.WaitGroup
		for range 200 {
			calls.Go(func() {
				if w := p.call("POST", deal, `{}`); w.Code != 200 {
					t.Errorf("got %d %s, want 200", w.Code, w.Body)
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); took > 76*time.Second {
			t.Errorf("200 calls took %v, want 76 s at most; the least possible is 75 s", took)
		}
		if portal.Refused() > 0 || portal.Ran("crm.deal.add") != 200 {
			t.Errorf("got %d refused and %d run, want none and 200", portal.Refused(), portal.Ran("crm.deal.add"))
		}
	})
}

// The portal gets the method, the body and the end-to-end headers as they came, and no
// header of the proxy's own.
func TestRequestPassesUnchanged(t *testing.T) {
	var got *http.Request
	var body []byte
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	p.call("PATCH", "/rest/profile", "a=1&b=%zz", "Content-Type", "text/x", "Authorization", "Bearer t", "Accept-Encoding", "br",
		"X-Custom", "1", "Idempotency-Key", "k", "Prefer", "return=minimal, wait=5", "Priority", "u=1", "B24-Client", "crm", "B24-Portal", "acme.bitrix24.com",
		"X-Forwarded-For", "10.1.1.1", "Forwarded", "for=10.1.1.1", "X-Forwarded-Host", "h", "Proxy-Authorization", "Basic eA==",
		"Connection", "Upgrade, X-Hop", "Upgrade", "websocket", "X-Hop", "1", "Te", "trailers", "Expect", "100-continue", "User-Agent", "")
	want := http.Header{
		"Content-Type": {"text/x"}, "Authorization": {"Bearer t"}, "Accept-Encoding": {"br"}, "X-Custom": {"1"},
		"Idempotency-Key": {"k"}, "Prefer": {"return=minimal"}, "Te": {"trailers"}, "User-Agent": {""},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got the headers\n%v\nwant\n%v", got.Header, want)
	}
	if got.Method != http.MethodPatch || string(body) != "a=1&b=%zz" || got.Host != "acme.bitrix24.com" {
		t.Errorf("got %s %s %q, want PATCH acme.bitrix24.com and the same body", got.Method, got.Host, body)
	}
}

// A successful answer passes byte for byte, with its headers.
func TestAnswerPassesUnchanged(t *testing.T) {
	const content = "\ufeff {\"result\": [1,2 ],\n\"time\":{}}\n"
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("X-Bitrix-Rest-Application", "app.1")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, content)
	}))
	w := p.call("POST", "/rest/profile", "", "X-Request-Id", "mine-1")
	if w.Code != 201 || w.Body.String() != content {
		t.Errorf("got %d %q, want 201 %q", w.Code, w.Body, content)
	}
	h := w.Header()
	if h.Get("Content-Type") != "application/json; charset=UTF-8" || len(h["Set-Cookie"]) != 2 || h.Get("X-Bitrix-Rest-Application") != "app.1" {
		t.Errorf("got the headers %v, want those of the portal", h)
	}
	if h.Get("X-Request-Id") != "mine-1" || !strings.Contains(h.Get("Server-Timing"), ", portal;dur=") ||
		h.Get("RateLimit-Policy") != `"portal";q=50;w=25` || h.Get("RateLimit") != `"portal";r=49;t=1` {
		t.Errorf("got the headers %v, want X-Request-Id, Server-Timing, RateLimit-Policy and RateLimit of the proxy", h)
	}
}

// A refused write waits until the portal can take it, and runs once.
func TestRefusedCallRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		portal.Spend(50)
		p := newProxy(t, nil).behind(portal)
		w := p.call("POST", deal, `{"fields":{"TITLE":"x"}}`)
		if w.Code != 200 || portal.Ran("crm.deal.add") != 1 || portal.Refused() != 1 {
			t.Errorf("got %d, run %d times and refused %d times; want 200, once and once", w.Code, portal.Ran("crm.deal.add"), portal.Refused())
		}
		for _, c := range portal.Calls() {
			if string(c.Body) != `{"fields":{"TITLE":"x"}}` {
				t.Errorf("got the body %q, want the same each time", c.Body)
			}
		}
	})
}

// Where the portal goes on refusing a call, its caller gets the refusal within the time
// that it accepts.
func TestRefusedUntilTheWaitIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "*:QUERY_LIMIT_EXCEEDED")
		p := newProxy(t, nil).behind(portal)
		began := time.Now()
		w := p.call("POST", deal, `{}`, "Prefer", "wait=5")
		e := errorOf(t, w)
		if took := time.Since(began); took > 6*time.Second || took < 3*time.Second {
			t.Errorf("the call took %v, want 3 to 6 s", took)
		}
		if w.Code != 503 || e.Error != "QUERY_LIMIT_EXCEEDED" || e.Proxy.Executed != "no" || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %+v %v, want 503 QUERY_LIMIT_EXCEEDED, not executed, with a Retry-After", w.Code, e, w.Header())
		}
		if n := portal.Ran("crm.deal.add"); n != 0 {
			t.Errorf("it ran %d times, want none", n)
		}
	})
}

// A portal on an unlimited plan that refuses a call is assumed to have the standard
// plan, until its bucket is full again. No call is lost.
func TestRefusedOnAnUnlimitedPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		p := newProxy(t, func(c *Config) { c.Plan = limiter.Unlimited; c.QueueWait = time.Minute }).behind(portal)
		var calls sync.WaitGroup
		for range 70 {
			calls.Go(func() {
				if w := p.call("POST", deal, ""); w.Code != 200 {
					t.Errorf("got %d %s, want 200", w.Code, w.Body)
				}
			})
		}
		calls.Wait()
		if n := portal.Ran("crm.deal.add"); n != 70 || portal.Refused() > 30 {
			t.Errorf("got %d run and %d refused, want 70 and 30 at most", n, portal.Refused())
		}
		time.Sleep(time.Minute)
		p.call("POST", deal, "")
		if s, _ := p.limiter.State("acme.bitrix24.com"); !s.Plan.Unlimited() {
			t.Errorf("a minute later: got the plan %v, want unlimited", s.Plan)
		}
	})
}

// A write that may have run is never sent twice, however its answer was lost. A read is
// sent once more.
func TestCallsWhoseAnswerWasLost(t *testing.T) {
	for _, c := range []struct {
		fault, path string
		headers     []string
		arrived     int
		status      int
		reason      string
	}{
		{fault: "*:reset-after", path: deal, arrived: 1, status: 500, reason: "reset"},
		{fault: "*:reset-before", path: deal, arrived: 1, status: 500, reason: "reset"},
		{fault: "*:reset-after", path: deal, headers: []string{"Idempotency-Key", "k"}, arrived: 1, status: 500, reason: "reset"},
		{fault: "*:reset-after:first=1", path: hook + "/crm.deal.list", arrived: 2, status: 200},
		{fault: "*:reset-after", path: hook + "/crm.deal.list", arrived: 2, status: 500, reason: "reset"},
		{fault: "*:truncated", path: deal, arrived: 1, status: 500, reason: "truncated"},
		{fault: "*:cut", path: deal, arrived: 1, status: 500, reason: "truncated"},
		{fault: "*:empty", path: deal, arrived: 1, status: 500, reason: "empty"},
		{fault: "*:html", path: deal, arrived: 1, status: 500, reason: "html"},
	} {
		for _, method := range []string{"POST", "GET"} {
			t.Run(fmt.Sprintf("%s of %s by %s", c.fault, c.path, method), func(t *testing.T) {
				sim := simulate(t, c.fault)
				portal := httptest.NewServer(sim)
				defer portal.Close()
				p := newProxy(t, func(config *Config) { config.Upstream = mustURL(portal.URL) })
				w := p.call(method, c.path, "", c.headers...)
				if w.Code != c.status || sim.Arrived() != c.arrived {
					t.Errorf("got %d %s and %d arrivals, want %d and %d", w.Code, w.Body, sim.Arrived(), c.status, c.arrived)
				}
				if c.status == 200 {
					return
				}
				if e := errorOf(t, w); e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.Reason != c.reason || e.Proxy.Executed != "unknown" {
					t.Errorf("got %+v, want ERROR_UNEXPECTED_ANSWER, reason %s, unknown whether executed", e, c.reason)
				}
			})
		}
	}
}

// When a portal does not answer in time, the caller reads that the call may have run.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "*:slow=100s")
		p := newProxy(t, nil).behind(portal)
		w := p.call("POST", deal, "")
		if e := errorOf(t, w); w.Code != 500 || e.Proxy.Reason != "timeout" || e.Proxy.Executed != "unknown" || e.Proxy.Source != "network" {
			t.Errorf("got %d %+v, want 500 of the network for timeout, unknown whether executed", w.Code, e)
		}
		time.Sleep(time.Minute) // the portal ends
	})
}

// When a portal cannot be reached, the caller reads that nothing was sent and when to
// try again. The slot is given back.
func TestUnreachable(t *testing.T) {
	portal := httptest.NewServer(nil)
	portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL) })
	for range 100 { // more than the burst, so that a slot that was kept would show
		w := p.call("POST", deal, "")
		if e := errorOf(t, w); w.Code != 503 || e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" || !e.Proxy.Retryable || w.Header().Get("Retry-After") == "" {
			t.Fatalf("got %d %+v, want 503 PORTAL_UNREACHABLE, not executed, to be repeated", w.Code, e)
		}
	}
}

// No call is lost on a connection that the portal closed while it was idle.
func TestStaleConnection(t *testing.T) {
	sim := simulate(t)
	portal := httptest.NewServer(sim)
	defer portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL); c.Plan = limiter.Unlimited })
	for i := range 50 {
		if w := p.call("POST", deal, "{}"); w.Code != 200 && !strings.Contains(w.Body.String(), "reset") {
			t.Fatalf("call %d: got %d %s, want 200 or a reset", i, w.Code, w.Body)
		}
		portal.CloseClientConnections()
	}
	if n := sim.Ran("crm.deal.add"); n > 50 {
		t.Errorf("50 calls ran %d times, want 50 at most", n)
	}
}

// A call that would wait too long and one that finds the queue full are rejected, each
// with its reason and an honest Retry-After.
func TestQueueRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t)
		p := newProxy(t, func(c *Config) { c.QueueDepth = 20 }).behind(portal)
		ctx, leave := context.WithCancel(t.Context())
		for range 49 + 12 {
			go p.callContext(ctx, "POST", deal, "")
		}
		synctest.Wait()
		check := func(reason string, headers ...string) {
			t.Helper()
			w := p.call("POST", deal, "", headers...)
			e := errorOf(t, w)
			if w.Code != 503 || e.Error != "QUERY_LIMIT_EXCEEDED" || e.Proxy.Reason != reason || e.Proxy.Source != "proxy" || e.Proxy.Executed != "no" || !e.Proxy.Retryable {
				t.Errorf("%s: got %d %+v, want 503 QUERY_LIMIT_EXCEEDED of the proxy, not executed, to be repeated", reason, w.Code, e)
			}
			if after := w.Header().Get("Retry-After"); after == "" || len(after) == 1 && after < "1" {
				t.Errorf("%s: got a Retry-After of %q, want 1 or more", reason, after)
			}
		}
		check("queue_wait", "Prefer", "wait=3")
		for range 8 {
			go p.callContext(ctx, "POST", deal, "")
		}
		synctest.Wait()
		check("queue_full")
		leave()
		synctest.Wait()
		if n := portal.Arrived(); n != 49 {
			t.Errorf("got %d calls at the portal, want 49", n)
		}
	})
}

// When a caller leaves while its call is with the portal, the call runs, and the proxy
// learns from its answer.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := simulate(t, "*:slow=3s")
		p := newProxy(t, nil).behind(portal)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.callContext(ctx, "POST", deal, ""); close(done) }()
		synctest.Wait()
		leave()
		<-done
		time.Sleep(5 * time.Second)
		if portal.Ran("crm.deal.add") != 1 {
			t.Error("the call did not run, want it to: it had arrived")
		}
		if s, _ := p.limiter.State("acme.bitrix24.com"); s.Level != 0 {
			t.Errorf("got a level of %v, want 0 after the answer", s.Level)
		}
	})
}

// Each request that the proxy cannot send has a code and a clear text, and nothing is
// sent.
func TestRequestsThatCannotBeSent(t *testing.T) {
	portal := simulate(t)
	p := newProxy(t, func(c *Config) { c.Upstream = nil; c.MaxBody = 10 }).behind(portal)
	for _, c := range []struct {
		method, target, body string
		headers              []string
		status               int
		code                 string
	}{
		{"POST", "/rest/profile", "", nil, 400, "PORTAL_NOT_NAMED"},
		{"POST", "/rest/profile", "", []string{"B24-Portal", "evil.example"}, 403, "PORTAL_NOT_ALLOWED"},
		{"POST", "/rest/api/profile", "", []string{"Host", "evil.example"}, 403, "PORTAL_NOT_ALLOWED"},
		{"POST", "/rest/profile", "12345678901", []string{"Host", "acme.bitrix24.com"}, 413, "REQUEST_TOO_LARGE"},
		{"CONNECT", "acme.bitrix24.com:443", "", nil, 501, "CONNECT_NOT_ENABLED"},
	} {
		w := p.call(c.method, c.target, c.body, c.headers...)
		e := errorOf(t, w)
		if w.Code != c.status || e.Error != c.code || e.Description == "" || e.Proxy.Executed != "no" || e.Proxy.Source != "proxy" || e.Proxy.Retryable || e.Proxy.RequestID == "" {
			t.Errorf("%s %s: got %d %+v, want %d %s of the proxy, not executed", c.method, c.target, w.Code, e, c.status, c.code)
		}
		if w.Header().Get("B24-Error-Source") != "proxy" || w.Header().Get("Server-Timing") == "" || w.Header().Get("X-Request-Id") != e.Proxy.RequestID {
			t.Errorf("%s %s: got the headers %v, want B24-Error-Source, Server-Timing and X-Request-Id", c.method, c.target, w.Header())
		}
	}
	if w := p.call("POST", "/rest/profile.xml", ""); !strings.HasPrefix(w.Body.String(), "<response><error>PORTAL_NOT_NAMED") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/xml") {
		t.Errorf("an XML call: got %s, want PORTAL_NOT_NAMED in XML", w.Body)
	}
	if portal.Arrived() > 0 {
		t.Error("a request was sent, want none")
	}
}

// A large body is kept in a file and arrives whole each time it is sent.
func TestLargeBodyArrivesWhole(t *testing.T) {
	content := make([]byte, 3<<20)
	rand.Read(content)
	sent := 0
	p := newProxy(t, func(c *Config) { c.MaxBody = 4 << 20; c.QueueWait = 5 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, content) || r.ContentLength != int64(len(content)) {
			t.Errorf("got %d bytes (%v), want all %d", len(got), err, len(content))
		}
		if sent++; sent == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
			return
		}
		io.WriteString(w, `{"result":1}`)
	}))
	if w := p.call("POST", deal, string(content)); w.Code != 200 || sent != 2 {
		t.Errorf("got %d %s, sent %d times; want 200 and twice", w.Code, w.Body, sent)
	}
}

// A request that does not count against the limit does not wait for a slot.
func TestOtherPathsNeedNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Plan = limiter.Plan{Rate: 1, Burst: 1} }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"error":"QUERY_LIMIT_EXCEEDED"}`)
		}))
		began := time.Now()
		for range 10 {
			if w := p.call("POST", "/oauth/token/", ""); w.Code != 200 || w.Body.String() != `{"error":"QUERY_LIMIT_EXCEEDED"}` {
				t.Errorf("got %d %s, want 200 and the same body", w.Code, w.Body)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("ten requests took %v, want no time", took)
		}
	})
}

// No secret of a call reaches a log line, a metric, an error or the status page,
// whatever comes of the call.
func TestSecretsStayInside(t *testing.T) {
	const code, token = "s3cretwebhookcode", "s3crettoken0123456789"
	var log bytes.Buffer
	portal := b24sim.New(b24sim.Config{Rate: 2, Burst: 50, Seed: 1, Faults: []b24sim.Fault{must(b24sim.ParseFault("*:html:0.3")), must(b24sim.ParseFault("*:expired_token:0.3"))}})
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log); c.QueueWait = 0 }).behind(portal)
	var seen strings.Builder
	for i := range 80 {
		for _, target := range []string{
			"/rest/1/" + code + "/crm.deal.list", "/rest/1/" + code + "/", "/rest/1/" + code, "//rest/1//" + code + "/x/y",
			"/rest/crm.deal.list?auth=" + token, "/rest/download?token=" + token, "/evil.example/rest/1/" + code + "/x",
			"http://u:" + token + "@evil.example/rest/1/" + code + "/x", "/rest/" + code,
		} {
			w := p.call("POST", target, fmt.Sprintf(`{"auth":%q,"i":%d}`, token, i), "Authorization", "Bearer "+token)
			if w.Code >= 400 {
				seen.WriteString(w.Body.String())
			}
			fmt.Fprint(&seen, w.Header())
		}
	}
	w := p.get("/metrics")
	seen.WriteString(w.Body.String())
	seen.WriteString(log.String())
	if strings.Contains(strings.ToLower(seen.String()), "s3cret") {
		for line := range strings.Lines(seen.String()) {
			if strings.Contains(line, "s3cret") {
				t.Fatalf("got a secret in %s, want none", line)
			}
		}
	}
	if !strings.Contains(log.String(), "outcome=portal_error") {
		t.Error("the log has no failed call, want some: else this test shows nothing")
	}
}

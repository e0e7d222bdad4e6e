package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"b24proxy/limiter"
)

// What the proxy refuses is counted as rejected, and not as a wait. Retry-After comes
// only with what may be repeated.
func TestRejectedIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.Plan = limiter.Plan{Rate: 1, Burst: 1} }).behind(good)
		p.call("POST", deal, "")
		p.call("POST", deal, "", "Prefer", "wait=0")
		if w := p.call("POST", deal, "", "B24-Portal", "evil.example"); w.Header()["Retry-After"] != nil {
			t.Errorf("%s: got Retry-After %q, want none", w.Body, w.Header()["Retry-After"])
		}
		p.behind(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).call("POST", deal, "")
		const portal = `portal="acme.bitrix24.com"`
		for series, want := range map[string]float64{
			`b24proxy_rejected_total{` + portal + `,reason="queue_wait"}`:         1,
			`b24proxy_rejected_total{` + portal + `,reason="reset"}`:              0,
			`b24proxy_queue_wait_seconds_count{` + portal + `,priority="normal"}`: 2,
		} {
			if got := p.metric(series); got != want {
				t.Errorf("%s: got %v, want %v", series, got, want)
			}
		}
	})
}

// The proxy's own codes are labels by name. A code of a portal that is spelled like one
// of them is not.
func TestOwnCodesAreLabels(t *testing.T) {
	p := newProxy(t, func(c *Config) { c.Upstream, c.MaxBody = nil, 10 })
	counted := func(code, portal, source string) float64 {
		return p.metric(fmt.Sprintf(`b24proxy_errors_total{code=%q,portal=%q,source=%q}`, code, portal, source))
	}
	p.call("POST", deal, "")
	p.call("POST", deal, "", "B24-Portal", "evil.example")
	p.call("POST", deal, strings.Repeat("x", 11), "B24-Portal", "acme.bitrix24.com")
	p.call("CONNECT", "acme.bitrix24.com:443", "")
	for code, portal := range map[string]string{
		"PORTAL_NOT_NAMED": "none", "PORTAL_NOT_ALLOWED": "none", "CONNECT_NOT_ENABLED": "none", "REQUEST_TOO_LARGE": "acme.bitrix24.com",
	} {
		if n := counted(code, portal, "proxy"); n != 1 {
			t.Errorf("%s: got a count of %v, want 1", code, n)
		}
	}
	p.behind(fixed(400, "application/json", []byte(`{"error":"REQUEST_TOO_LARGE"}`))).call("POST", deal, "", "B24-Portal", "acme.bitrix24.com")
	if counted("other", "acme.bitrix24.com", "portal") != 1 || counted("REQUEST_TOO_LARGE", "acme.bitrix24.com", "portal") != 0 {
		t.Error("got the portal's code as a label, want other")
	}
	unreachable := newProxy(t, func(c *Config) { c.Upstream = mustURL("http://127.0.0.1:1") })
	unreachable.call("POST", deal, "")
	if n := unreachable.metric(`b24proxy_errors_total{code="PORTAL_UNREACHABLE",portal="127.0.0.1:1",source="network"}`); n != 1 {
		t.Errorf("PORTAL_UNREACHABLE: got a count of %v, want 1", n)
	}
}

// A call that the portal refused for its rate limit, and that is not sent again, is
// answered with a time to repeat it.
func TestRefusalHasRetryAfter(t *testing.T) {
	for name, observe := range map[string]bool{"enforcing, without another slot": false, "observing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(c *Config) { c.Observe = observe }).behind(refusing)
				w := p.call("POST", deal, "", "Prefer", "wait=0")
				after, err := strconv.Atoi(w.Header().Get("Retry-After"))
				if w.Code != http.StatusServiceUnavailable || err != nil || after < 1 || after > 60 {
					t.Errorf("got %d %s with the Retry-After %d (%v), want 503 with 1 to 60", w.Code, w.Body, after, err)
				}
			})
		})
	}
}

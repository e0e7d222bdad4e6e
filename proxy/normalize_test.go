package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
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

// Each documented code is recognised, gets its documented status and is counted,
// whatever status the portal sends it with.
func TestSystemErrors(t *testing.T) {
	for _, code := range bitrix24.SystemErrors()[:16] {
		for _, status := range []int{code.Status, 200, 401, 403, 500, 503} {
			description := code.Text
			p := newProxy(t, func(c *Config) { c.QueueWait = 0 }).behind(fixed(status, "application/json", fmt.Appendf(nil, `{"error":%q,"error_description":%q,"more":1}`, code.Code, description)))
			w := p.call("POST", deal, "")
			e := errorOf(t, w)
			if w.Code != code.Status || e.Error != string(code.Code) || e.Description != description || e.Proxy.Source != "portal" ||
				e.Proxy.Executed != code.Ran.String() || e.Proxy.PortalStatus != status || e.Proxy.RequestID == "" || w.Header().Get("B24-Error-Source") != "portal" {
				t.Errorf("%s at %d: got %d %+v, want %d and the portal's own words", code.Code, status, w.Code, e, code.Status)
			}
			if n := p.metric(errorsTotal(string(code.Code), "portal")); n != 1 {
				t.Errorf("%s at %d: got a count of %v, want 1", code.Code, status, n)
			}
		}
	}
}

// With B24PROXY_NORMALIZE=false answers pass as they came, and are counted.
func TestNormalizeOff(t *testing.T) {
	const page = "<html>502 Bad Gateway</html>"
	p := newProxy(t, func(c *Config) { c.Normalize = false }).behind(fixed(502, "text/html", []byte(page)))
	w := p.call("POST", deal, "")
	if w.Code != 502 || w.Body.String() != page || w.Header().Get("B24-Error-Source") != "portal" {
		t.Errorf("got %d %s, want the page as it came", w.Code, w.Body)
	}
	if p.metric(errorsTotal("ERROR_UNEXPECTED_ANSWER", "portal")) != 1 {
		t.Error("got no count of the error, want one")
	}
}

// Each recorded answer is right through the whole proxy: a success and an error of a
// method pass byte for byte, what is not an answer of the API becomes one error, and a
// system error keeps its code.
func TestSamples(t *testing.T) {
	index := string(must(os.ReadFile("bitrix24/testdata/samples/index.tsv")))
	for line := range strings.Lines(index) {
		column := strings.Split(line, "\t")
		if column[0] == "file" {
			continue
		}
		name, code := column[0], column[3]
		body := must(os.ReadFile("bitrix24/testdata/samples/" + name))
		path := deal
		switch {
		case strings.Contains(name, "download"):
			path = "/rest/download.json?token=x"
		case strings.Contains(name, "batch"):
			path = hook + "/batch"
		case strings.Contains(name, "oauth"):
			path = "/oauth/token/"
		}
		if strings.HasSuffix(name, ".xml") {
			path += ".xml"
		}
		if strings.HasPrefix(name, "v3-") || strings.HasPrefix(name, "ok-v3") {
			path = "/rest/api/tasks.task.add"
		}
		var headers []string
		if strings.Contains(name, "download") {
			headers = []string{"Content-Disposition", "attachment"}
		}
		p := newProxy(t, func(c *Config) { c.QueueWait = 0 }).behind(fixed(must(strconv.Atoi(column[1])), column[2], body, headers...))
		w := p.call("POST", path, "")
		known := bitrix24.Lookup(bitrix24.Code(code))
		switch {
		case name == "redirect-302.html":
			if w.Code != 500 || errorOf(t, w).Proxy.Reason != "redirect" {
				t.Errorf("%s: got %d %s, want 500 with the reason redirect", name, w.Code, w.Body)
			}
		case code == "-", strings.HasPrefix(name, "batch"), name == "xml-batch-partial-200.xml":
			if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), body) {
				t.Errorf("%s: got %d %s, want it unchanged", name, w.Code, w.Body)
			}
		case strings.HasPrefix(code, "(http_"), strings.HasPrefix(code, "(html_"), code == "(truncated)":
			if e := errorOf(t, w); w.Code != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.Executed != "unknown" {
				t.Errorf("%s: got %d %s, want 500 ERROR_UNEXPECTED_ANSWER, executed unknown", name, w.Code, w.Body)
			}
		case known != nil:
			if w.Code != known.Status || !strings.Contains(w.Body.String(), string(known.Code)) || !strings.Contains(w.Body.String(), "request_id") {
				t.Errorf("%s: got %d %s, want %d with the code %s", name, w.Code, w.Body, known.Status, known.Code)
			}
		default: // a method's own
			if want := max(400, must(strconv.Atoi(column[1]))); w.Code != want || !bytes.Equal(w.Body.Bytes(), body) {
				t.Errorf("%s: got %d %s, want it unchanged at %d", name, w.Code, w.Body, want)
			}
		}
	}
}

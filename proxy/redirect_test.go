package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// renaming answers for several hosts: the ones in moved are renamed, the others serve.
func renaming(t *testing.T, moved map[string]string, status int, arrived *[]string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*arrived = append(*arrived, r.Method+" "+r.Host+" "+string(body))
		if to := moved[r.Host]; to != "" {
			w.Header().Set("Location", to+r.URL.RequestURI())
			w.WriteHeader(status)
			return
		}
		io.WriteString(w, `{"result":1}`)
	})
}

// A renamed portal is followed with method and body, and the call pays a slot there.
func TestRenamedPortalIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		synctest.Test(t, func(t *testing.T) { // the level does not fall meanwhile
			var arrived []string
			p := newProxy(t, nil).behind(renaming(t, map[string]string{
				"acme.bitrix24.com": "https://acme2.bitrix24.com", "acme2.bitrix24.com": "https://acme3.bitrix24.eu",
			}, status, &arrived))
			w := p.call("POST", deal+"?a=b;c", "body")
			if w.Code != 200 || w.Body.String() != `{"result":1}` {
				t.Fatalf("%d: got %d %s, want the answer of the new address", status, w.Code, w.Body)
			}
			want := "POST acme.bitrix24.com body, POST acme2.bitrix24.com body, POST acme3.bitrix24.eu body"
			if got := strings.Join(arrived, ", "); got != want {
				t.Errorf("%d: got %s, want %s", status, got, want)
			}
			for _, portal := range []string{"acme.bitrix24.com", "acme2.bitrix24.com", "acme3.bitrix24.eu"} {
				if s, _ := p.limiter.State(portal); s.Level < 0.9 {
					t.Errorf("%s: got the level %v, want a slot to be paid", portal, s.Level)
				}
			}
		})
	}
}

// A circle, a host off the list and another page end in a clear error, and nothing
// more is sent.
func TestRedirectsThatEnd(t *testing.T) {
	for name, c := range map[string]struct {
		moved  map[string]string
		status int
		code   string
		reason string
		sent   int
	}{
		"circle of two":   {map[string]string{"acme.bitrix24.com": "https://b.bitrix24.com", "b.bitrix24.com": "https://acme.bitrix24.com"}, 503, "PORTAL_UNREACHABLE", "redirect_loop", 6},
		"to itself":       {map[string]string{"acme.bitrix24.com": "http://acme.bitrix24.com"}, 503, "PORTAL_UNREACHABLE", "redirect_loop", 1},
		"off the list":    {map[string]string{"acme.bitrix24.com": "https://evil.example"}, 403, "PORTAL_NOT_ALLOWED", "portal_not_allowed", 1},
		"to another page": {map[string]string{"acme.bitrix24.com": "https://acme.bitrix24.com/auth?back="}, 500, "ERROR_UNEXPECTED_ANSWER", "redirect", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var arrived []string
			p := newProxy(t, nil).behind(renaming(t, c.moved, 302, &arrived))
			w := p.call("POST", deal, "body")
			e := errorOf(t, w)
			if w.Code != c.status || e.Error != c.code || e.Proxy.Reason != c.reason || len(arrived) != c.sent {
				t.Errorf("got %d %+v after %d requests, want %d %s %s after %d", w.Code, e, len(arrived), c.status, c.code, c.reason, c.sent)
			}
			if strings.Contains(w.Body.String(), "hookcode") {
				t.Errorf("got %s, want no webhook in it", w.Body)
			}
		})
	}
}

// A client that addresses the portal itself learns its new name.
func TestRedirectReachesDirectClients(t *testing.T) {
	for _, headers := range [][]string{{"Host", "acme.bitrix24.com"}, nil} {
		target := deal
		if headers == nil {
			target = "http://acme.bitrix24.com" + deal
		}
		var arrived []string
		p := newProxy(t, nil).behind(renaming(t, map[string]string{"acme.bitrix24.com": "https://b.bitrix24.com"}, 302, &arrived))
		w := p.call("POST", target, "", headers...)
		if w.Code != 302 || w.Header().Get("Location") != "https://b.bitrix24.com"+deal || len(arrived) != 1 {
			t.Errorf("got %d %v after %d requests, want the redirect after one", w.Code, w.Header(), len(arrived))
		}
	}
}

// redirected sends one POST to a portal that answers with the given redirect, and
// returns what arrived anywhere as scheme, host, path and body.
func redirected(t *testing.T, upstream, portals, portal, target string, status int, location string) (*httptest.ResponseRecorder, []string) {
	t.Helper()
	var arrived []string
	p := newProxy(t, func(c *Config) {
		c.Upstream, c.Portals = mustURL(upstream), patterns(strings.Fields(portals)...)
	})
	p.reverse.Transport.(*transport).sender.base = roundTripper(func(req *http.Request) (*http.Response, error) {
		return inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			arrived = append(arrived, r.Method+" "+req.URL.Scheme+"://"+r.Host+r.RequestURI+" "+string(body))
			if len(arrived) > 1 {
				io.WriteString(w, `{"result":1}`)
				return
			}
			w.Header().Set("Location", location)
			w.WriteHeader(status)
		})}.RoundTrip(req)
	})
	if portal != "" {
		return p.call("POST", target, "body", "B24-Portal", portal), arrived
	}
	return p.call("POST", target, "body"), arrived
}

// A redirect of the same call to another address is followed with its method, query
// and body, however the address is written.
func TestRedirectOfTheSameCallIsFollowed(t *testing.T) {
	const call, cyrillic = "/rest/1/hookcode/crm.deal.add", "/rest/%D0%B8%D0%B2/hookcode/crm.deal.add"
	for name, c := range map[string]struct{ upstream, target, location, want string }{
		"escapes in lower case":           {"https://a.example.org", cyrillic, "https://b.example.org" + strings.ToLower(cyrillic), "https://b.example.org" + cyrillic},
		"letters instead of escapes":      {"https://a.example.org", cyrillic, "https://b.example.org/rest/ив/hookcode/crm.deal.add", "https://b.example.org" + cyrillic},
		"escapes instead of letters":      {"https://a.example.org", "/rest/ив/hookcode/crm.deal.add", "https://b.example.org" + cyrillic, "https://b.example.org/rest/ив/hookcode/crm.deal.add"},
		"an escape that needs none":       {"https://a.example.org", call, "https://b.example.org/rest/%31/hookcode/crm.deal.add", "https://b.example.org" + call},
		"an escaped slash":                {"https://a.example.org", call, "https://b.example.org/rest/1/hookcode%2Fcrm.deal.add", "https://b.example.org" + call},
		"the query is kept":               {"https://a.example.org", call + "?a=1;b", "https://b.example.org" + call + "?a=1;b", "https://b.example.org" + call + "?a=1;b"},
		"the query is dropped":            {"https://a.example.org", call + "?a=1", "https://b.example.org" + call, "https://b.example.org" + call + "?a=1"},
		"no scheme":                       {"https://a.example.org", call, "//b.example.org" + call, "https://b.example.org" + call},
		"a port that is the default":      {"https://a.example.org", call, "https://B.example.org:443" + call, "https://b.example.org" + call},
		"a last slash":                    {"https://a.example.org", call + "?a=1", "https://a.example.org" + call + "/", "https://a.example.org" + call + "/?a=1"},
		"a last slash, without a host":    {"https://a.example.org", call, call + "/", "https://a.example.org" + call + "/"},
		"a last slash, relative":          {"https://a.example.org", cyrillic, "crm.deal.add/", "https://a.example.org" + cyrillic + "/"},
		"no last slash":                   {"https://a.example.org", call + "/", call, "https://a.example.org" + call},
		"a last slash at another host":    {"https://a.example.org", call, "https://b.example.org" + call + "/", "https://b.example.org" + call + "/"},
		"a last slash, behind TLS":        {"https://a.example.org", call, "http://a.example.org" + call + "/", "https://a.example.org" + call + "/"},
		"to TLS of the same box":          {"http://box", call, "https://box" + call, "https://box" + call},
		"to TLS of a box with a port":     {"http://box:8000", call, "https://box" + call, "https://box" + call},
		"to TLS of a box with an address": {"http://10.0.0.1", call, "https://10.0.0.1" + call, "https://10.0.0.1" + call},
		"a last slash at a plain box":     {"http://box:8000", call, "http://box:8000" + call + "/", "http://box:8000" + call + "/"},
		"from a box to the cloud":         {"http://box", call, "https://b.example.org" + call, "https://b.example.org" + call},
	} {
		t.Run(name, func(t *testing.T) {
			w, arrived := redirected(t, c.upstream, "*.example.org", "", c.target, 301, c.location)
			if w.Code != 200 || len(arrived) != 2 || decoded(arrived[1]) != decoded("POST "+c.want+" body") {
				t.Errorf("got %d %s and the requests %q, want 200 and %q last", w.Code, w.Body, arrived, "POST "+c.want+" body")
			}
		})
	}
}

// A redirect is not followed to an address without TLS, off the list, that is private,
// or of an upstream that the call does not name. If it is of the same call, nothing
// ran; a redirect to another page says nothing about that.
func TestRedirectsThatAreNotFollowed(t *testing.T) {
	const call = "/rest/1/hookcode/crm.deal.add"
	for name, c := range map[string]struct {
		status   int
		location string
		code     string
		executed string
	}{
		"to ftp":                       {302, "ftp://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to wss":                       {302, "wss://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to unix":                      {302, "unix://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to gopher":                    {302, "gopher://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to plain http":                {302, "http://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"with a password":              {302, "https://u:p4ss@b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to the upstream":              {302, "http://box:8000" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to the upstream, method kept": {307, "http://box:8000" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to the upstream over TLS":     {302, "https://box:8000" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to the upstream at no port":   {302, "https://box" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to a private address, listed": {302, "https://10.0.0.1" + call, "ERROR_UNEXPECTED_ANSWER", "no"},
		"to a private address":         {302, "https://192.168.0.1" + call, "PORTAL_NOT_ALLOWED", "no"},
		"to loopback":                  {302, "https://[::1]" + call, "PORTAL_NOT_ALLOWED", "no"},
		"off the list":                 {302, "https://c.example.com" + call, "PORTAL_NOT_ALLOWED", "no"},
		"to a port that is not listed": {302, "https://b.example.org:8443" + call, "PORTAL_NOT_ALLOWED", "no"},
		"to a login page":              {302, "https://b.example.org/auth/?back=" + call, "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"to another call":              {302, "https://b.example.org/rest/1/hookcode/crm.deal.delete", "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"nowhere":                      {302, "", "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"what is no address":           {302, "http://[::1]%23/%zz", "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"300":                          {300, "https://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"303":                          {303, "https://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"305":                          {305, "https://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "unknown"},
		"a status that nobody knows":   {399, "https://b.example.org" + call, "ERROR_UNEXPECTED_ANSWER", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			w, arrived := redirected(t, "http://box:8000", "*.example.org 10.0.0.1", "a.example.org", call, c.status, c.location)
			e := errorOf(t, w)
			if len(arrived) != 1 || e.Error != c.code || e.Proxy.Executed != c.executed || e.Proxy.Retryable || e.Proxy.PortalStatus != c.status {
				t.Errorf("got %d %+v after %q, want %s, executed %s", w.Code, e, arrived, c.code, c.executed)
			}
			if strings.Contains(e.Description, "hookcode") || strings.Contains(e.Description, "p4ss") {
				t.Errorf("got %q, want no secret in it", e.Description)
			}
		})
	}
}

// Only the upstream's own callers reach it without TLS, even if the list has its
// name.
func TestRedirectToListedPlainUpstreamIsNotFollowed(t *testing.T) {
	for _, location := range []string{"http://box.example.org" + deal, "https://box.example.org" + deal} {
		w, arrived := redirected(t, "http://box.example.org", "*.example.org", "a.example.org", deal, 302, location)
		if e := errorOf(t, w); len(arrived) != 1 || e.Proxy.Reason != "redirect" || e.Proxy.Executed != "no" {
			t.Errorf("%s: got %+v after %q, want the reason redirect, executed no", location, e, arrived)
		}
	}
}

// A host off the list is named, with the setting that would allow it.
func TestNewNameOffTheListIsNamed(t *testing.T) {
	w, _ := redirected(t, "https://a.example.org", "a.example.org", "", deal, 302, "https://b.example.org"+deal)
	const want = "a.example.org was renamed to b.example.org; add b.example.org to B24PROXY_PORTALS"
	if e := errorOf(t, w); e.Description != want {
		t.Errorf("got %q, want %q", e.Description, want)
	}
}

// A portal that adds a slash and removes it again is asked only a few times.
func TestSlashPingPongEnds(t *testing.T) {
	sent := 0
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent++
		to, had := strings.CutSuffix(r.URL.Path, "/")
		if !had {
			to += "/"
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
	}))
	e := errorOf(t, p.call("POST", deal, "body"))
	if e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Reason != "redirect_loop" || e.Proxy.Executed != "no" || sent != maxMoves+1 {
		t.Errorf("got %+v after %d requests, want PORTAL_UNREACHABLE redirect_loop after %d", e, sent, maxMoves+1)
	}
}

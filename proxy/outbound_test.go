package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A portal without TLS is asked through the outbound proxy by its whole address, even
// if net/http would write its path differently.
func TestPlainPortalIsAskedInAbsoluteForm(t *testing.T) {
	var got string
	outbound := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.RequestURI + " at " + r.Host
		io.WriteString(w, `{"result":1}`)
	}))
	defer outbound.Close()
	for _, box := range []string{"box.example.org", "box.example.org:8000"} {
		for _, target := range []string{"/rest/1/hookcode/crm.deal.add?a=1", "/rest/ив/hookcode/crm.deal.add", "/rest/a[b]/hookcode/crm.deal.add?a=1", "//rest/1/hookcode/crm.deal.add"} {
			t.Run(box+target, func(t *testing.T) {
				p := newProxy(t, func(c *Config) { c.Upstream, c.OutboundProxy = mustURL("http://"+box), mustURL(outbound.URL) })
				got = ""
				w := p.call("POST", target, "{}")
				if want := "POST http://" + box + target + " at " + box; w.Code != 200 || got != want {
					t.Errorf("got %d and the request %q, want 200 and %q", w.Code, got, want)
				}
			})
		}
	}
}

// What the outbound proxy refuses has not reached the portal. The error says that the
// outbound proxy refused it, and quotes neither.
func TestOutboundProxyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		portal string
		status int
		want   string
	}{
		"a portal with TLS, no user":    {"https://box.example.org", 407, "the outbound proxy (B24PROXY_OUTBOUND_PROXY) asks for a user and password"},
		"a portal without TLS, no user": {"http://box.example.org", 407, "the outbound proxy (B24PROXY_OUTBOUND_PROXY) asks for a user and password"},
		"a portal with TLS, forbidden":  {"https://box.example.org", 403, "the outbound proxy (B24PROXY_OUTBOUND_PROXY) refused with status 403"},
		"a portal with TLS, 204":        {"https://box.example.org", 204, "the outbound proxy (B24PROXY_OUTBOUND_PROXY) refused with status 204"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			outbound := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Proxy-Authenticate", `Basic realm="s3cret"`)
				w.WriteHeader(c.status)
			}))
			defer outbound.Close()
			var log bytes.Buffer
			p := newProxy(t, func(config *Config) {
				config.Upstream = mustURL(c.portal)
				config.OutboundProxy = mustURL(strings.Replace(outbound.URL, "://", "://user:s3cret@", 1))
				jsonLog(&log, slog.LevelDebug)(config)
			})
			w := p.call("POST", deal, "{}")
			e := errorOf(t, w)
			if w.Code != 503 || e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" || asked != 1 || e.Description != "The portal could not be reached: "+c.want {
				t.Errorf("got %d %+v after %d requests, want PORTAL_UNREACHABLE after one, with %q", w.Code, e, asked, c.want)
			}
			if all := w.Body.String() + log.String(); strings.Contains(all, "s3cret") || w.Header().Get("Proxy-Authenticate") != "" {
				t.Errorf("got %s, want no secret in it", all)
			}
		})
	}
}

// A 407 of a portal that is asked without the outbound proxy is the portal's own.
func TestPortalsOwn407(t *testing.T) {
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	if e := errorOf(t, p.call("POST", deal, "{}")); e.Error == "PORTAL_UNREACHABLE" || e.Proxy.Source != "portal" {
		t.Errorf("got %+v, want an error of the portal", e)
	}
}

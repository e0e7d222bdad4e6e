package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// renaming answers for several hosts: those named have moved, the others serve.
func renaming(t *testing.T, moved map[string]string, status int, arrived *[]string) http.Handler {
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

// A renamed portal is followed with method and body; the call pays a slot there.
func TestRenamedPortalIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		var arrived []string
		p := newProxy(t, nil).behind(renaming(t, map[string]string{
			"acme.bitrix24.com": "https://acme2.bitrix24.com", "acme2.bitrix24.com": "https://acme3.bitrix24.eu",
		}, status, &arrived))
		w := p.call("POST", deal+"?a=b;c", "body")
		if w.Code != 200 || w.Body.String() != `{"result":1}` {
			t.Fatalf("%d: %d %s", status, w.Code, w.Body)
		}
		want := "POST acme.bitrix24.com body, POST acme2.bitrix24.com body, POST acme3.bitrix24.eu body"
		if got := strings.Join(arrived, ", "); got != want {
			t.Errorf("%d: got %s", status, got)
		}
		for _, portal := range []string{"acme.bitrix24.com", "acme2.bitrix24.com", "acme3.bitrix24.eu"} {
			if s, _ := p.limiter.State(portal); s.Level < 0.9 {
				t.Errorf("%s: level %v", portal, s.Level)
			}
		}
	}
}

// A circle, a host off the list and another page end in a clear error; nothing
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
		var arrived []string
		p := newProxy(t, nil).behind(renaming(t, c.moved, 302, &arrived))
		w := p.call("POST", deal, "body")
		e := tell(t, w)
		if w.Code != c.status || e.Error != c.code || e.Proxy.Reason != c.reason || len(arrived) != c.sent {
			t.Errorf("%s: %d %+v, sent %d", name, w.Code, e, len(arrived))
		}
		if strings.Contains(w.Body.String(), "hookcode") {
			t.Errorf("%s shows the webhook: %s", name, w.Body)
		}
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
			t.Errorf("%d %v", w.Code, w.Header())
		}
	}
}

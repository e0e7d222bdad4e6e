package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A header is removed if CGI reads its name as that of one which the proxy removes,
// replaces or reads. Other headers are passed on, whatever their names.
func TestHeadersThatImitateOthers(t *testing.T) {
	got := make(chan http.Header, 1)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		io.WriteString(w, `{"result":1}`)
	}))
	defer portal.Close()
	server := httptest.NewServer(newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL) }))
	defer server.Close()
	req := must(http.NewRequest(http.MethodGet, server.URL+"/rest/profile", nil))
	req.Header = http.Header{"Accept-Encoding": {"br"}, "User-Agent": {"test"}}
	for _, name := range []string{
		"X_Forwarded_For", "x-forwarded_HOST", "X.Forwarded.For", "X-Forwarded", "X-FORWARDED-PROTO", "Forwarded",
		"X-Real-IP", "X_Real_IP", "x_real-ip", "B24_Client", "b24_portal", "Idempotency_Key", "X_Request_Id", "Proxy_Authorization",
		"Proxy_Connection", "Keep_Alive", "Transfer_Encoding", "Content_Length", "Content_Type", "PRIORITY",
	} {
		req.Header[name] = []string{"10.1.1.1"}
	}
	for _, name := range []string{"X_Custom", "X-Custom", "Via", "Content-Type", "Idempotency-Key"} {
		req.Header[name] = []string{"passes"}
	}
	must(http.DefaultClient.Do(req)).Body.Close()
	want := "map[Accept-Encoding:[br] Content-Type:[passes] Idempotency-Key:[passes] User-Agent:[test] Via:[passes] X-Custom:[passes] X_custom:[passes]]"
	if h := fmt.Sprint(<-got); h != want {
		t.Errorf("the portal got\n%s\nwant\n%s", h, want)
	}
}

// A web page of another origin can read the errors that are made here, as it can read
// the portal's answers.
func TestErrorsCarryTheOriginHeader(t *testing.T) {
	portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/rest/page":
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>")
		case "/rest/named":
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"expired_token","error_description":""}`)
		case "/rest/add":
			panic(http.ErrAbortHandler)
		}
	})
	p := newProxy(t, nil).behind(portal)
	for what, c := range map[string]struct{ method, target, host, origin, want string }{
		"a portal that is not allowed":     {"POST", "/rest/x", "evil.example", "https://app.example", "*"},
		"CONNECT":                          {"CONNECT", "/", "", "https://app.example", "*"},
		"a lost call":                      {"POST", "/rest/add", "", "https://app.example", "*"},
		"a page in the place of an answer": {"POST", "/rest/page", "", "null", "*"},
		"an answer that names its origins": {"POST", "/rest/named", "", "https://app.example", "https://app.example"},
		"a request without an origin":      {"POST", "/rest/page", "", "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			headers := []string{"Origin", c.origin}
			if c.host != "" {
				headers = append(headers, "B24-Portal", c.host)
			}
			w := p.call(c.method, c.target, "", headers...)
			if got := strings.Join(w.Header().Values("Access-Control-Allow-Origin"), " "); w.Code < 400 || got != c.want {
				t.Errorf("got %d with the origin %q, want an error with %q", w.Code, got, c.want)
			}
		})
	}
}

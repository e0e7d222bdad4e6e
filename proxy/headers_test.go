package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// unfit are names of callers that must not be shown.
var unfit = map[string]string{
	"the address of a webhook":   "https://acme.bitrix24.com/rest/1/S3cretCode0123/",
	"a path of a webhook":        "/rest/1/S3cretCode0123/profile",
	"a path without its slash":   "rest/1/S3cretCode0123",
	"a path in capitals":         "/REST/1/S3cretCode0123",
	"a path behind a word":       "crm-rest/1/S3cretCode0123",
	"a path with two slashes":    "//rest//1/S3cretCode0123",
	"a path that is encoded":     "%2Frest%2F1%2FS3cretCode0123",
	"a path with encoded letter": "/re%73t/1/S3cretCode0123",
	"a token":                    "auth=S3cretCode0123",
	"an authorization":           "Bearer+S3cretCode0123",
	"a space":                    "S3cretCode0123 crm",
	"another character":          "S3cretCode0123;crm",
	"a letter beyond ASCII":      "S3cretCode0123ё",
	"129 characters":             strings.Repeat("S3cretCode0123", 10)[:129],
	"a megabyte":                 strings.Repeat("S3cretCode0123", 1<<20/14),
}

func TestNamesThatCallersChoose(t *testing.T) {
	for what, name := range unfit {
		t.Run("an X-Request-Id is replaced where it holds "+what, func(t *testing.T) {
			var log strings.Builder
			var sent string
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent = strings.Join(r.Header.Values("X-Request-Id"), " ")
			}))
			w := p.call("POST", deal, "", "X-Request-Id", name)
			id := w.Header().Get("X-Request-Id")
			if len(id) < 20 || sent != id || strings.Contains(id+log.String(), "S3cret") {
				t.Errorf("the caller got %.99q, the portal %.99q, the log says\n%.999s", id, sent, &log)
			}
		})
		t.Run("B24-Client counts as absent where it holds "+what, func(t *testing.T) {
			var log strings.Builder
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(good)
			p.call("POST", deal, "", "B24-Client", name)
			if strings.Contains(log.String(), "S3cret") || !strings.Contains(log.String(), `client="webhook `) {
				t.Error(log.String())
			}
		})
	}
	t.Run("plain names of up to 128 characters are taken", func(t *testing.T) {
		for _, name := range []string{"a", "crm-sync", "Root=1-5759e988-bd862e3fe1be46a994272793", "a/b.c:d+e_f=", strings.Repeat("x", 128), "interest"} {
			h := http.Header{"X-Request-Id": {name}}
			if got := requestID(h); got != name {
				t.Errorf("%q became %q", name, got)
			}
		}
	})
	t.Run("only one id reaches the portal, and none where the caller had none", func(t *testing.T) {
		h := http.Header{"X-Request-Id": {"", "/rest/1/S3cret"}}
		stripOwnHeaders(h, "ours")
		none := http.Header{}
		stripOwnHeaders(none, "ours")
		if got := fmt.Sprint(h, none); got != "map[X-Request-Id:[ours]] map[]" {
			t.Error(got)
		}
	})
}

// What CGI folds into the name of a header that the proxy removes, replaces or
// reads does not pass; other headers do, whatever their names.
func TestHeadersThatImitateOthers(t *testing.T) {
	got := make(chan http.Header, 1)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		io.WriteString(w, `{"result":1}`)
	}))
	defer portal.Close()
	server := httptest.NewServer(newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL) }))
	defer server.Close()
	req := must(http.NewRequest("GET", server.URL+"/rest/profile", nil))
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

// Priority is a dictionary of structured fields (RFC 9218, RFC 8941).
func TestUrgency(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  int
	}{
		{nil, 3},
		{[]string{"u=0"}, 0},
		{[]string{"u=0, u=7"}, 7},
		{[]string{"u=0", "u=7"}, 7},
		{[]string{"u=2;x"}, 2},
		{[]string{"u=2;x=1, i"}, 2},
		{[]string{"i, u=5"}, 5},
		{[]string{" u=1 ,\ti=?0 "}, 1},
		{[]string{`a="u=1, x", u=6`}, 6},
		{[]string{"u=8"}, 3},
		{[]string{"u=-1"}, 3},
		{[]string{"u=0, u=9"}, 3},
		{[]string{"u=1.0"}, 3},
		{[]string{`u="1"`}, 3},
		{[]string{"u"}, 3},
		{[]string{"u=(1)"}, 3},
		{[]string{"U=1"}, 3},
		{[]string{"u = 1"}, 3},
		{[]string{"u=1,"}, 3},
		{[]string{"u=1", "u=?"}, 3},
		{[]string{"urgent", "u=1"}, 1},
		{[]string{"u=99999999999999999999"}, 3},
	} {
		if got := urgency(http.Header{"Priority": c.lines}); got != c.want {
			t.Errorf("Priority: %q: %d, want %d", c.lines, got, c.want)
		}
	}
}

// Of Prefer (RFC 7240) the first wait counts; it can only shorten the wait, also
// one of less than a second more than it asks for.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		lines   []string
		longest time.Duration
		want    time.Duration
	}{
		{nil, time.Minute, time.Minute},
		{[]string{"wait=10"}, time.Minute, 10 * time.Second},
		{[]string{"wait=0"}, 500 * time.Millisecond, 0},
		{[]string{"wait=1"}, 1500 * time.Millisecond, time.Second},
		{[]string{"wait=2"}, 1500 * time.Millisecond, 1500 * time.Millisecond},
		{[]string{"wait=61"}, time.Minute, time.Minute},
		{[]string{"wait=10, wait=5"}, time.Minute, 10 * time.Second},
		{[]string{"wait=10", "wait=5"}, time.Minute, 10 * time.Second},
		{[]string{"wait=soon, wait=5"}, time.Minute, time.Minute},
		{[]string{"wait, wait=5"}, time.Minute, time.Minute},
		{[]string{"respond-async, WAIT=5"}, time.Minute, 5 * time.Second},
		{[]string{"wait=10;x"}, time.Minute, 10 * time.Second},
		{[]string{`wait=10 ; x="a, wait=1"`}, time.Minute, 10 * time.Second},
		{[]string{`wait="10"`}, time.Minute, 10 * time.Second},
		{[]string{"wait = 10"}, time.Minute, 10 * time.Second},
		{[]string{`foo="a, wait=1", wait=5`}, time.Minute, 5 * time.Second},
		{[]string{`foo="\", wait=1", wait=5`}, time.Minute, 5 * time.Second},
		{[]string{`foo="a, wait=1`}, time.Minute, time.Minute},
		{[]string{`wait="1`}, time.Minute, time.Minute},
		{[]string{`wait="`}, time.Minute, time.Minute},
		{[]string{"wait=90"}, time.Minute, time.Minute},
		{[]string{"wait=-1"}, time.Minute, time.Minute},
		{[]string{"wait=+1"}, time.Minute, time.Minute},
		{[]string{"wait=1.5"}, time.Minute, time.Minute},
		{[]string{"wait=99999999999999999999"}, time.Minute, time.Minute},
		{[]string{"waiting=1"}, time.Minute, time.Minute},
	} {
		if got := patience(http.Header{"Prefer": c.lines}, c.longest); got != c.want {
			t.Errorf("Prefer: %q of %v: %v, want %v", c.lines, c.longest, got, c.want)
		}
	}
}

// The portal gets the preferences that are not the proxy's, as they were
// written.
func TestOtherPreferencesPass(t *testing.T) {
	for line, want := range map[string]string{
		"wait=5":                            "[]",
		"return=minimal ,  respond-async":   "[return=minimal ,  respond-async]",
		"return=minimal, wait=5; x, strict": "[return=minimal, strict]",
		`foo="a, wait=1", Wait="5"`:         `[foo="a, wait=1"]`,
	} {
		h := http.Header{"Prefer": {line}}
		stripOwnHeaders(h, "")
		if got := fmt.Sprint(h["Prefer"]); got != want {
			t.Errorf("%s became %s, want %s", line, got, want)
		}
	}
}

// A page of another origin can read the errors that are made here, as it can
// read the portal's answers.
func TestErrorsCarryTheOriginHeader(t *testing.T) {
	portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/rest/page":
			w.WriteHeader(502)
			io.WriteString(w, "<html>")
		case "/rest/named":
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
			w.WriteHeader(401)
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
		headers := []string{"Origin", c.origin}
		if c.host != "" {
			headers = append(headers, "B24-Portal", c.host)
		}
		w := p.call(c.method, c.target, "", headers...)
		if got := strings.Join(w.Header().Values("Access-Control-Allow-Origin"), " "); w.Code < 400 || got != c.want {
			t.Errorf("%s: %d, %q, want %q", what, w.Code, got, c.want)
		}
	}
}

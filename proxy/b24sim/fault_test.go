package b24sim

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// mustFault reads a fault.
func mustFault(t *testing.T, s string) Fault {
	t.Helper()
	f, err := ParseFault(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The text form of a fault is complete: reading it again gives the same fault.
func TestParseFault(t *testing.T) {
	for s, want := range map[string]Fault{
		"crm.deal.add:reset-after:0.1":           {Method: "crm.deal.add", Kind: "reset-after", Share: 0.1},
		"*:QUERY_LIMIT_EXCEEDED:first=3":         {Method: "*", Kind: "QUERY_LIMIT_EXCEEDED", First: 3},
		"crm.*:OVERLOAD_LIMIT:status=503":        {Method: "crm.*", Kind: "OVERLOAD_LIMIT", Status: 503},
		"*:slow=1.5s:0.5:first=2":                {Method: "*", Kind: "slow", Value: "1.5s", Share: 0.5, First: 2},
		"*:INTERNAL_SERVER_ERROR:before":         {Method: "*", Kind: "INTERNAL_SERVER_ERROR", Run: RunBefore},
		"*:insufficient_scope:documented":        {Method: "*", Kind: "insufficient_scope", Documented: true},
		"*.add:error=null:status=200":            {Method: "*.add", Kind: "error", Value: "null", Status: 200},
		"tasks.task.get:RATELIMITEXCEPTION:0.25": {Method: "tasks.task.get", Kind: "RATELIMITEXCEPTION", Share: 0.25},
		"*:html:status=504:after":                {Method: "*", Kind: "html", Status: 504, Run: RunAfter},
	} {
		t.Run(s, func(t *testing.T) {
			got, err := ParseFault(s)
			if err != nil || got != want {
				t.Errorf("got %+v (%v), want %+v", got, err, want)
			}
			if again, err := ParseFault(got.String()); err != nil || again != got {
				t.Errorf("written as %s, got %+v (%v), want the same", got, again, err)
			}
		})
	}
}

// The error of a wrong fault names the wrong part and says what is allowed.
func TestParseFaultErrors(t *testing.T) {
	for s, want := range map[string]string{
		"html":                 "METHOD:KIND",
		":html":                "METHOD:KIND",
		"*:explode":            "want one of html",
		"*:slow":               "duration such as 20s",
		"*:slow=-1s":           "duration such as 20s",
		"*:html:2":             "share 2",
		"*:html:0":             "a share above 0",
		"*:html:often":         "a share above 0",
		"*:html:first=no":      "first=N",
		"*:html:status=99":     "200 to 599",
		"*:reset-after:before": "does not take before or after",
		"*:html:documented":    "only codes",
		"*:NO_AUTH_FOUND=1":    "takes no value",
		"*:error=oops":         "JSON value",
		"*:gzip=sometimes":     "gzip=always or gzip alone",
		"[:html":               "pattern such as crm.*",
	} {
		t.Run(s+" is refused", func(t *testing.T) {
			if _, err := ParseFault(s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got the error %v, want %q in it", err, want)
			}
		})
	}
}

// Each kind of fault gives its answer, and the method runs only if the kind says
// so.
func TestFaultAnswers(t *testing.T) {
	for _, test := range []struct {
		fault  string
		status int
		body   string // a part of it
		ran    int
	}{
		{"*:QUERY_LIMIT_EXCEEDED", 503, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`, 0},
		{"*:OVERLOAD_LIMIT", 401, `"OVERLOAD_LIMIT"`, 0},
		{"*:OVERLOAD_LIMIT:documented", 503, `"OVERLOAD_LIMIT"`, 0},
		{"*:PORTAL_DELETED", 403, `"PORTAL_DELETED"`, 0},
		{"*:portal_deleted:documented", 500, `"PORTAL_DELETED"`, 0},
		{"*:PORTAL_DELETED:status=410", 410, `"PORTAL_DELETED"`, 0},
		{"*:INTERNAL_SERVER_ERROR", 500, `"INTERNAL_SERVER_ERROR"`, 1},
		{"*:INTERNAL_SERVER_ERROR:before", 500, `"INTERNAL_SERVER_ERROR"`, 0},
		{"*:WRONG_ENCODING", 200, `"WRONG_ENCODING"`, 1},
		{"*:error=null", 400, `{"error":null,`, 0},
		{`*:error="0":status=200`, 200, `{"error":"0",`, 0},
		{"*:error=200040300020:after", 400, `{"error":200040300020,`, 1},
		{"*:html", 502, "502 Bad Gateway", 0},
		{"*:html:status=504:after", 504, "504 Gateway Time-out", 1},
		{"*:site-closed", 200, "Site under construction", 0},
		{"*:login-page", 200, "<form", 0},
		{"*:php-fatal", 500, "A error occurred", 1},
		{"*:empty", 503, "", 0},
		{"*:empty:status=200", 200, "", 0},
		{"*:bom", 200, "\ufeff{\"result\":", 1},
		{"*:truncated", 200, `{"result":`, 1},
	} {
		t.Run(test.fault, func(t *testing.T) {
			p := New(Config{Faults: []Fault{mustFault(t, test.fault)}})
			wantAnswer(t, get(t, p, hook+"crm.deal.add"), test.status, test.body)
			if ran := p.Ran("crm.deal.add"); ran != test.ran {
				t.Errorf("got %d run, want %d", ran, test.ran)
			}
		})
	}
}

// Every system error can be a fault, with both versions of the API, and reaches
// the caller with the status of the table.
func TestEveryCode(t *testing.T) {
	for _, c := range codes {
		p := New(Config{Faults: []Fault{{Kind: c.name}}})
		want := c.sent
		if want == 0 {
			want = c.documented
		}
		wantAnswer(t, get(t, p, hook+"crm.deal.add"), want, c.name)
	}
	p := New(Config{Faults: []Fault{{Kind: "expired_token"}}})
	w := get(t, p, "/rest/api/1/invented-code/tasks.task.get?id=1")
	if want := `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION","message":"Access denied"}}`; w.Code != 401 || w.Body.String() != want {
		t.Errorf("expired_token in REST 3.0: got %d %s, want 401 %s", w.Code, w.Body, want)
	}
}

// The seed draws the share of calls that fail: the same seed gives the same
// failures, another seed gives others.
func TestFaultShare(t *testing.T) {
	failures := func(seed uint64) string {
		p := New(Config{Seed: seed, Faults: []Fault{{Kind: "html", Share: 0.3}}})
		var b strings.Builder
		for range 1000 {
			if get(t, p, hook+"profile").Code == 502 {
				b.WriteByte('x')
			} else {
				b.WriteByte('.')
			}
		}
		return b.String()
	}
	one := failures(1)
	if n := strings.Count(one, "x"); n < 250 || n > 350 {
		t.Errorf("got %d of 1000 failed, want about 300", n)
	}
	if failures(1) != one || failures(2) == one {
		t.Error("got failures that do not follow the seed, want them to")
	}
}

// first=N strikes N times, and only the methods that it names.
func TestFaultFirst(t *testing.T) {
	p := New(Config{Faults: []Fault{{Method: "crm.*", Kind: "QUERY_LIMIT_EXCEEDED", First: 2}}})
	get(t, p, hook+"profile")
	for range 5 {
		get(t, p, hook+"CRM.deal.add")
	}
	if p.Refused() != 2 || p.Ran("crm.deal.add") != 3 || p.Ran("profile") != 1 {
		t.Errorf("got %d refused, %d and %d run, want 2, 3 and 1", p.Refused(), p.Ran("crm.deal.add"), p.Ran("profile"))
	}
}

// A slow call runs at once and gets its answer later, in virtual time.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Speed: 10, Faults: []Fault{mustFault(t, "*:slow=20s")}})
		start := time.Now()
		go get(t, p, hook+"crm.deal.add")
		synctest.Wait()
		if p.Ran("crm.deal.add") != 1 || p.Calls()[0].Status != 0 {
			t.Errorf("got %d run and %v, want one run without an answer yet", p.Ran("crm.deal.add"), p.Calls())
		}
		get(t, p, hook+"crm.deal.add")
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("got the answer after %v, want 2s", took)
		}
	})
}

// On a real connection the caller sees resets and cuts as such. After reset-after
// the call ran, after reset-before it did not.
func TestBrokenConnections(t *testing.T) {
	p := New(Config{})
	server := httptest.NewServer(p)
	defer server.Close()
	post := func() (*http.Response, error) { // a POST: net/http does not repeat it
		return http.Post(server.URL+hook+"crm.deal.add", "application/json", strings.NewReader(`{"fields":{}}`))
	}
	for kind, ran := range map[string]int{"reset-before": 0, "reset-after": 1} {
		t.Run(kind, func(t *testing.T) {
			p.Reset()
			p.SetFaults(Fault{Kind: kind})
			_, err := post()
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got the error %v, want a reset connection", err)
			}
			if p.Ran("crm.deal.add") != ran || p.Calls()[0].Status != 0 {
				t.Errorf("got %d run, %v, want %d without an answer", p.Ran("crm.deal.add"), p.Calls()[0], ran)
			}
		})
	}
	p.SetFaults(Fault{Kind: "cut"})
	res, err := post()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
		t.Errorf("cut: got %q (%v), want a part and io.ErrUnexpectedEOF", body, err)
	}
}

// Over TLS, with HTTP/1.1 and HTTP/2, a call that was reset ran and has no answer.
func TestResetOverTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		p := New(Config{Faults: []Fault{{Kind: "reset-after"}}})
		server := httptest.NewUnstartedServer(p)
		server.EnableHTTP2 = http2
		server.StartTLS()
		res, err := server.Client().Post(server.URL+hook+"crm.deal.add", jsonType, strings.NewReader(`{}`))
		if err == nil {
			res.Body.Close()
			t.Errorf("HTTP/2 %v: got status %d, want no answer", http2, res.StatusCode)
		}
		if c := p.Calls()[0]; len(p.Calls()) != 1 || !c.Ran || c.Status != 0 {
			t.Errorf("HTTP/2 %v: got %v, want one call that ran", http2, p.Calls())
		}
		server.Close()
	}
}

// gzip compresses only for callers that accept it, gzip=always for all.
func TestGzip(t *testing.T) {
	p := New(Config{Faults: []Fault{{Kind: "gzip"}}})
	if w := get(t, p, hook+"profile"); w.Header().Get("Content-Encoding") != "" {
		t.Errorf("got the encoding %q for a caller that does not accept it, want none", w.Header().Get("Content-Encoding"))
	}
	p.SetFaults(Fault{Kind: "gzip", Value: "always"})
	w := get(t, p, hook+"profile")
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(z); err != nil || !strings.HasPrefix(string(body), `{"result":`) {
		t.Errorf("got %q (%v), want a result", body, err)
	}
}

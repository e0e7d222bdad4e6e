package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// An answering is what a portal does with one request.
type answerer = http.HandlerFunc

func page(status int, contentType, content string) answerer {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, content)
	}
}

var (
	resetting answerer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	refusing           = page(503, "application/json", `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
	badPage            = page(502, "text/html", "<html>502</html>")
)

// script answers the first requests as it says, and the others with a success.
func script(sent *atomic.Int64, first ...answerer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := sent.Add(1); n <= int64(len(first)) {
			first[n-1](w, r)
			return
		}
		good(w, r)
	})
}

const (
	read     = hook + "/crm.deal.list"
	keyed    = "/rest/api/tasks.task.add"
	readable = `{"cmd":{"a":"crm.deal.list","b":"crm.deal.get?id=1"}}`
)

// A read whose answer was lost is sent once more, with a slot of its own. So are a batch
// of reads and a write of version 3 with a key, and no other call.
func TestLostAnswerIsAskedForOnceMore(t *testing.T) {
	json := []string{"Content-Type", "application/json"}
	calls := map[string]struct {
		target, body string
		headers      []string
		again        bool
	}{
		"a read":                                {read, "", nil, true},
		"a read of version 3":                   {"/rest/api/tasks.task.get", "{}", nil, true},
		"profile":                               {hook + "/profile", "", nil, true},
		"a batch of reads":                      {hook + "/batch", readable, json, true},
		"a v3 write with a key":                 {keyed, "{}", []string{"Idempotency-Key", "k"}, true},
		"a write":                               {deal, "", nil, false},
		"a v3 write":                            {keyed, "{}", nil, false},
		"a batch with a write":                  {hook + "/batch", `{"cmd":{"a":"crm.deal.list","b":"crm.deal.add"}}`, json, false},
		"a batch of reads that is a file":       {hook + "/batch", `{"x":"` + strings.Repeat("x", bodyInMemory) + `","cmd":{"a":"crm.deal.list"}}`, json, false},
		"a batch whose encoding we do not undo": {hook + "/batch", readable, append([]string{"Content-Encoding", "gzip"}, json...), false},
	}
	losses := map[string]struct {
		first  answerer
		reason string
	}{
		"a page at 502":      {badPage, "html"},
		"a page at 503":      {page(503, "text/html", "<html>"), "html"},
		"a page at 504":      {page(504, "text/html", "<html>"), "html"},
		"a page at 500":      {page(500, "text/html", "<html>"), "html"},
		"a page at 200":      {page(200, "text/html", "<html>"), "html"},
		"a page at 408":      {page(408, "text/html", "<html>"), "html"},
		"a page at 429":      {page(429, "text/html", "<html>"), "html"},
		"nothing":            {page(200, "application/json", ""), "empty"},
		"nothing at 503":     {page(503, "text/html", ""), "empty"},
		"half an answer":     {page(200, "application/json", `{"result":[1,`), "truncated"},
		"no JSON":            {page(200, "application/json", `oops`), "not_json"},
		"5xx without a code": {page(500, "application/json", `{}`), "not_json"},
		"a reset":            {resetting, "reset"},
	}
	for call, c := range calls {
		for loss, l := range losses {
			t.Run(call+" and "+loss, func(t *testing.T) {
				var sent atomic.Int64
				p := newProxy(t, nil).behind(script(&sent, l.first))
				w := p.call("POST", c.target, c.body, c.headers...)
				if !c.again {
					if e := tell(t, w); sent.Load() != 1 || w.Code != 500 || e.Proxy.Executed != "unknown" || e.Proxy.Retryable {
						t.Errorf("got %d %s after %d requests, want 500, executed unknown, not retryable, after one", w.Code, w.Body, sent.Load())
					}
					return
				}
				if s, _ := p.limiter.State("acme.bitrix24.com"); sent.Load() != 2 || w.Code != 200 || s.Level < 1.9 {
					t.Errorf("got %d %s after %d requests for %.1f slots, want 200 after 2 for 2", w.Code, w.Body, sent.Load(), s.Level)
				}
				if m := metricsOf(p); !strings.Contains(m, `b24proxy_resends_total{portal="acme.bitrix24.com",reason="`+l.reason+`"} 1`) {
					t.Errorf("got no resend for %s, want one", l.reason)
				}
			})
		}
	}
}

func metricsOf(p *Proxy) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "127.0.0.1"
	p.Admin().ServeHTTP(w, r)
	return w.Body.String()
}

// A read is sent once more, not more often, and not if that would not help.
func TestLostAnswerIsNotAskedForOnAndOn(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Hour) }
	stuck := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"result":`)
		w.(http.Flusher).Flush()
		time.Sleep(time.Hour)
	}
	for name, c := range map[string]struct {
		first  []answerer
		sent   int
		reason string
	}{
		"two pages":                        {[]answerer{badPage, badPage, badPage}, 2, "html"},
		"two resets":                       {[]answerer{resetting, resetting, resetting}, 2, "reset"},
		"a reset and a page":               {[]answerer{resetting, badPage, badPage}, 2, "html"},
		"a page and a reset":               {[]answerer{badPage, resetting, resetting}, 2, "reset"},
		"a page, a refusal and a page":     {[]answerer{badPage, refusing, badPage, badPage}, 3, "html"},
		"a refusal and two pages":          {[]answerer{refusing, badPage, badPage}, 3, "html"},
		"a page and silence":               {[]answerer{badPage, silent}, 2, "timeout"},
		"silence":                          {[]answerer{silent}, 1, "timeout"},
		"silence in the answer":            {[]answerer{stuck}, 1, "timeout"},
		"a page that lasts":                {[]answerer{page(404, "text/html", "<html>")}, 1, "html"},
		"a page for what is too large":     {[]answerer{page(413, "text/html", "<html>")}, 1, "html"},
		"a page for what is not allowed":   {[]answerer{page(403, "text/html", "<html>")}, 1, "html"},
		"a redirect to another page":       {[]answerer{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/auth/", 302) }}, 1, "redirect"},
		"a portal's own error, of the API": {[]answerer{page(500, "application/json", `{"error":"INTERNAL_SERVER_ERROR"}`)}, 1, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				p := newProxy(t, nil).behind(script(&sent, c.first...))
				w := p.call("POST", read, "")
				if e := tell(t, w); sent.Load() != int64(c.sent) || e.Proxy.Reason != c.reason || e.Proxy.Executed != "unknown" {
					t.Errorf("got %d %s after %d requests, want the reason %s after %d", w.Code, w.Body, sent.Load(), c.reason, c.sent)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// If no slot comes in time for another attempt, the caller gets the failure of the first
// at once, and that is not a rejection.
func TestLostWithoutAnotherSlot(t *testing.T) {
	for name, first := range map[string]answerer{"html": badPage, "reset": resetting} {
		synctest.Test(t, func(t *testing.T) {
			var sent atomic.Int64
			p := newProxy(t, nil).behind(script(&sent, first))
			for range 48 {
				must(p.limiter.Acquire(t.Context(), limiter.Request{Upstream: "acme.bitrix24.com"})).Answered(limiter.Accepted)
			}
			began := time.Now()
			w := p.call("POST", read, "", "Prefer", "wait=0")
			e := tell(t, w)
			if sent.Load() != 1 || w.Code != 500 || e.Proxy.Reason != name || e.Proxy.Executed != "unknown" || !e.Proxy.Retryable || time.Since(began) > time.Second {
				t.Errorf("got %d %s after %d requests, want 500 with the reason %s after one", w.Code, w.Body, sent.Load(), name)
			}
			if m := metricsOf(p); strings.Contains(m, "b24proxy_rejected_total{") || !strings.Contains(m, `outcome="portal_error"`) {
				t.Errorf("got the metrics %s, want the outcome portal_error and no rejection", m)
			}
		})
	}
}

// A call is not sent again if its caller has a part of a long answer already.
func TestWhatStreamedIsNotAskedForAgain(t *testing.T) {
	var sent atomic.Int64
	p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		io.WriteString(w, `{"result":["`+strings.Repeat("x", 4<<20))
		panic(http.ErrAbortHandler)
	}), nil)
	server := httptest.NewServer(p)
	defer server.Close()
	resp := must(http.Post(server.URL+read, "", nil))
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || sent.Load() != 1 {
		t.Errorf("got %d bytes and the error %v after %d requests, want an error after one", n, err, sent.Load())
	}
}

// Pages at 4xx would come again, except those that say to come back later.
func TestLastingPages(t *testing.T) {
	for status, want := range map[int]bool{399: false, 400: true, 499: true, 500: false, 408: false, 429: false} {
		if lasts(status) != want {
			t.Errorf("%d: got lasts %v, want %v", status, !want, want)
		}
	}
}

package proxy

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// An answerer is what a portal does with one request.
type answerer = http.HandlerFunc

// page answers with a fixed page.
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

// script is a portal that answers the first requests as given, and the others with a
// result.
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

// A connectionThatTakesLong is one that is made before the first request is sent.
type connectionThatTakesLong struct {
	http.RoundTripper
	takes time.Duration
	times int
}

func (c *connectionThatTakesLong) RoundTrip(req *http.Request) (*http.Response, error) {
	for ; c.times > 0; c.times-- {
		time.Sleep(c.takes)
		near, _ := net.Pipe()
		httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{Conn: &countingConn{Conn: near}})
		if err := req.Context().Err(); err != nil {
			c.times--
			return nil, err
		}
	}
	return c.RoundTripper.RoundTrip(req)
}

// A replica that stands still between getting a slot and sending the call gets another
// slot for it, also a write: other replicas have used what has drained. It does so once.
func TestExpiredSlotIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		times int
		level float64
	}{
		"a minute":          {time.Minute, 1, 1},
		"two minutes":       {time.Minute, 2, 0},
		"a slow connection": {3 * time.Second, 1, 0},
		"no time at all":    {0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				p := newSharedMemory().newProxy(t, script(&sent), nil)
				sender := &p.reverse.Transport.(*transport).sender
				sender.base = &connectionThatTakesLong{sender.base, c.takes, c.times}
				w := p.call("POST", deal, "")
				if w.Code != 200 || sent.Load() != 1 {
					t.Errorf("got %d %s after %d sendings, want 200 after one", w.Code, w.Body, sent.Load())
				}
				if s, _ := p.limiter.State("acme.bitrix24.com"); math.Abs(s.Level-c.level) > 0.1 {
					t.Errorf("got a level of %v, want %v", s.Level, c.level)
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// A read whose answer was lost is sent once more, with a slot of its own. So are a batch
// of reads and a version 3 write with a key, and no other call.
func TestCallWithALostAnswerIsSentOnceMore(t *testing.T) {
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
				synctest.Test(t, func(t *testing.T) { // so that no level drains
					var sent atomic.Int64
					p := newProxy(t, nil).behind(script(&sent, l.first))
					w := p.call("POST", c.target, c.body, c.headers...)
					if !c.again {
						if e := errorOf(t, w); sent.Load() != 1 || w.Code != 500 || e.Proxy.Executed != "unknown" || e.Proxy.Retryable {
							t.Errorf("got it sent %d times and %d %s, want once and 500, not to be repeated", sent.Load(), w.Code, w.Body)
						}
						return
					}
					if s, _ := p.limiter.State("acme.bitrix24.com"); sent.Load() != 2 || w.Code != 200 || s.Level < 1.9 {
						t.Errorf("got it sent %d times for %.1f slots and %d %s, want twice for 2 slots and 200", sent.Load(), s.Level, w.Code, w.Body)
					}
					if got := p.metric(`b24proxy_resends_total{portal="acme.bitrix24.com",reason="` + l.reason + `"}`); got != 1 {
						t.Errorf("got %v resends for %s, want 1", got, l.reason)
					}
				})
			})
		}
	}
}

func metricsOf(p *Proxy) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Host = "127.0.0.1"
	p.Admin().ServeHTTP(w, r)
	return w.Body.String()
}

// A read is not sent more than once more, and not where that would not help.
func TestCallWithALostAnswerIsNotSentOnAndOn(t *testing.T) {
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
		"a redirect to another page":       {[]answerer{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/auth/", http.StatusFound) }}, 1, "redirect"},
		"a portal's own error, of the API": {[]answerer{page(500, "application/json", `{"error":"INTERNAL_SERVER_ERROR"}`)}, 1, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				p := newProxy(t, nil).behind(script(&sent, c.first...))
				w := p.call("POST", read, "")
				if e := errorOf(t, w); sent.Load() != int64(c.sent) || e.Proxy.Reason != c.reason || e.Proxy.Executed != "unknown" {
					t.Errorf("got it sent %d times and %d %s, want %d times and the reason %s", sent.Load(), w.Code, w.Body, c.sent, c.reason)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// Where no slot is due in time for another attempt, the caller gets the failure of the
// first one at once, and the call does not count as rejected.
func TestCallWithALostAnswerAndNoOtherSlot(t *testing.T) {
	for reason, first := range map[string]answerer{"html": badPage, "reset": resetting} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				p := newProxy(t, nil).behind(script(&sent, first))
				for range 48 {
					must(p.limiter.Acquire(t.Context(), limiter.Request{Upstream: "acme.bitrix24.com"})).Answered(limiter.Accepted)
				}
				began := time.Now()
				w := p.call("POST", read, "", "Prefer", "wait=0")
				e := errorOf(t, w)
				if sent.Load() != 1 || w.Code != 500 || e.Proxy.Reason != reason || e.Proxy.Executed != "unknown" || !e.Proxy.Retryable || time.Since(began) > time.Second {
					t.Errorf("got it sent %d times and %d %s after %v, want once and 500 for %s at once, to be repeated", sent.Load(), w.Code, w.Body, time.Since(began), reason)
				}
				if m := metricsOf(p); regexp.MustCompile(`b24proxy_rejected_total{.*} [^0]`).MatchString(m) || !strings.Contains(m, `outcome="portal_error",portal="acme.bitrix24.com",status_class="5xx"} 1`) {
					t.Errorf("got the metrics\n%s\nwant the outcome portal_error and no rejection", m)
				}
			})
		})
	}
}

// A call is not sent again once its caller has a part of a long answer.
func TestCallWithAPartOfItsAnswerIsNotSentAgain(t *testing.T) {
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
		t.Errorf("got it sent %d times and %d bytes (%v), want once and an error", sent.Load(), n, err)
	}
}

// A page with a status of 4xx will be there again, except those that ask to come later.
func TestPagesThatLast(t *testing.T) {
	for status, want := range map[int]bool{399: false, 400: true, 499: true, 500: false, 408: false, 429: false} {
		if got := lasts(status); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}

// An idempotency key has 1 to 255 printable characters.
func TestHasIdempotencyKey(t *testing.T) {
	for key, want := range map[string]bool{
		"": false, "a": true, " ~": true, "a\x1f": false, "a\x7f": false, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := hasIdempotencyKey(http.Header{"Idempotency-Key": {key}}); got != want {
			t.Errorf("%.10q of %d: got %v, want %v", key, len(key), got, want)
		}
	}
}

// A version 3 write with an idempotency key may be sent again. In version 2 the key means
// nothing.
func TestIdempotencyKey(t *testing.T) {
	for path, sent := range map[string]int{"/rest/api/tasks.task.add": 2, "/rest/tasks.task.add": 1, "/rest/api/batch": 1} {
		n := 0
		p := newProxy(t, nil).behind(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n++
			panic(http.ErrAbortHandler)
		}))
		w := p.call("POST", path, "{}", "Idempotency-Key", "key-1")
		if e := errorOf(t, w); w.Code != 500 || e.Proxy.Retryable != (sent == 2) || n != sent {
			t.Errorf("%s: got it sent %d times and %d %+v, want %d times and 500", path, n, w.Code, e, sent)
		}
	}
}

// A caller may repeat a version 3 write with an idempotency key whatever came of it, and
// no other write.
func TestIdempotencyKeyMakesRetryable(t *testing.T) {
	for path, want := range map[string]bool{"/rest/api/tasks.task.add": true, "/rest/tasks.task.add": false} {
		p := newProxy(t, nil).behind(fixed(502, "text/html", []byte("<html>")))
		if e := errorOf(t, p.call("POST", path, "{}", "Idempotency-Key", "key-1")); e.Proxy.Retryable != want || e.Proxy.Executed != "unknown" {
			t.Errorf("%s: got %+v, want to be repeated: %v", path, e, want)
		}
	}
}

// A read that was lost, and then finds no connection to be sent again, may have run all
// the same: it is not answered as one that was never sent.
func TestLostCallThatCannotBeSentAgainMayHaveRun(t *testing.T) {
	var closing net.Listener
	portal := newRawPortal(t, func(c net.Conn) {
		readRequest(bufio.NewReader(c))
		closing.Close() // the next one is refused
		c.Close()
	})
	closing = portal.listener
	w := portal.before(t).call("POST", read, "")
	if e := errorOf(t, w); w.Code != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.Executed != "unknown" {
		t.Errorf("got %d %+v, want 500 ERROR_UNEXPECTED_ANSWER with executed unknown", w.Code, e)
	}
}

package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"b24proxy/metrics"
)

// panicking is a transport that panics.
type panicking func(*http.Request) *http.Response

func (f panicking) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

// A panic in the handling of a call is answered in our shape and logged at ERROR with the
// ID of the request and without its secret, and ends nothing else.
func TestPanic(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(*Proxy)
		executed string
		outcome  metrics.Outcome
	}{
		"before the call is sent": {func(p *Proxy) { p.receiver.router = nil }, "no", metrics.Rejected},
		"while it is sent": {func(p *Proxy) {
			p.reverse.Transport.(*transport).sender.base = panicking(func(*http.Request) *http.Response { panic("at /rest/1/s3cretcode/crm.deal.add") })
		}, "unknown", metrics.PortalError},
		"when its answer is looked at": {func(p *Proxy) {
			p.reverse.Transport.(*transport).sender.base = panicking(func(req *http.Request) *http.Response {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: panickingBody{}, Request: req}
			})
		}, "unknown", metrics.PortalError},
		"when it is answered": {func(p *Proxy) {
			p.behind(good).reverse.ModifyResponse = func(*http.Response) error { panic("oh") }
		}, "unknown", metrics.PortalError},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) })
			c.edit(p)
			w := p.call("POST", "/rest/1/s3cretcode/crm.deal.add", "{}", "X-Request-Id", "r1")
			e := errorOf(t, w)
			if w.Code != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.Reason != "internal" || e.Proxy.Executed != c.executed || w.Header().Get("X-Request-Id") != "r1" {
				t.Errorf("got %d %s %v, want 500 with the reason internal, executed %s", w.Code, w.Body, w.Header(), c.executed)
			}
			text := log.String()
			if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "request_id=r1 panic=") || !strings.Contains(text, "stack=") || strings.Contains(text, "s3cret") {
				t.Errorf("got the log %s, want one error with the ID, the panic and its stack, and no secret", text)
			}
			if !strings.Contains(text, "msg=call request_id=r1") || !strings.Contains(text, "outcome="+string(c.outcome)) {
				t.Errorf("got the log %s, want the outcome %s", text, c.outcome)
			}
			if s, found := p.limiter.State("acme.bitrix24.com"); found && c.executed == "unknown" && s.Level == 0 {
				t.Error("got the slot back, want it spent, since the call may have run")
			}
		})
	}
}

// An answer whose writing panics before any of it is written leaves nothing of its header
// in the error.
func TestPanicWhenTheAnswerBegins(t *testing.T) {
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Of-The-Portal", "1")
		w.Write([]byte(`{"result":1}`))
	}))
	r := httptest.NewRequest(http.MethodPost, deal, nil)
	r.Host = "127.0.0.1:8080"
	w := &panickingWriter{ResponseRecorder: httptest.NewRecorder()}
	p.ServeHTTP(w, r)
	if w.Code != 500 || w.Header().Get("X-Of-The-Portal") != "" || errorOf(t, w.ResponseRecorder).Proxy.Executed != "unknown" {
		t.Errorf("got %d %v %s, want 500, executed unknown, without the portal's header", w.Code, w.Header(), w.Body)
	}
}

// A panickingWriter accepts no success, as net/http accepts no status below 100.
type panickingWriter struct{ *httptest.ResponseRecorder }

func (w *panickingWriter) WriteHeader(status int) {
	if status == 200 {
		panic("invalid status")
	}
	w.ResponseRecorder.WriteHeader(status)
}

// An answer begins with its status, and not with the 1xx before it.
func TestAnswerWriter(t *testing.T) {
	w := &answerWriter{ResponseWriter: httptest.NewRecorder()}
	if w.WriteHeader(http.StatusEarlyHints); w.wrote {
		t.Error("got 103 as an answer, want none yet")
	}
	if w.WriteHeader(http.StatusOK); !w.wrote {
		t.Error("got no answer at 200, want one")
	}
}

type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("oh") }
func (panickingBody) Close() error             { return nil }

// A panic in the middle of an answer cuts the connection, so that half an answer does not
// look like a whole one. An abort that net/http means is not logged.
func TestPanicInTheMiddleOfAnAnswer(t *testing.T) {
	var log lockedBuffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) })
	p.reverse.Transport.(*transport).sender.base = panicking(func(req *http.Request) *http.Response {
		body := io.MultiReader(strings.NewReader(`{"result":"`+strings.Repeat("x", 1<<20)), panickingBody{})
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: 2 << 20, Body: io.NopCloser(body), Request: req}
	})
	server := httptest.NewServer(p)
	resp := must(http.Post(server.URL+deal, "", nil))
	_, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	server.Close()
	if text := log.String(); err == nil || strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "outcome=portal_error") {
		t.Errorf("got the error %v and the log %s, want an error, and one line at ERROR", err, text)
	}
}

// A lockedBuffer is the log of a proxy that runs beside the test.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newProxy makes a proxy for the portal acme.bitrix24.com and the cloud.
func newProxy(tb testing.TB, edit func(*Config)) *Proxy {
	tb.Helper()
	c := Config{
		Upstream:        must(url.Parse("https://acme.bitrix24.com")),
		Portals:         CloudPortals(),
		Plan:            limiter.Standard,
		QueueWait:       25 * time.Second,
		QueueDepth:      1000,
		UpstreamTimeout: 65 * time.Second,
		MaxBody:         1 << 20,
		SpoolLimit:      1 << 30,
		Normalize:       true,
		MetricsPortals:  100,
		Log:             debugLog(tb.Output()),
	}
	if edit != nil {
		edit(&c)
	}
	p := New(c)
	if c.Observe { // shadows may wait still
		tb.Cleanup(p.limiter.Close)
	}
	return p
}

// behind lets a handler in this process answer the proxy's calls, so that they can run
// under testing/synctest.
func (p *Proxy) behind(h http.Handler) *Proxy {
	p.reverse.Transport.(*transport).sender.base = inProcess{h}
	return p
}

// recordTo lets a journal of the test take the place of the proxy's own.
func (p *Proxy) recordTo(j journal) {
	t := p.reverse.Transport.(*transport)
	p.journal, p.receiver.journal, p.normalizer.journal, t.journal, t.resender.journal, t.sender.journal, t.sender.learner.journal, t.joiner.journal, t.repeats.journal = j, j, j, j, j, j, j, j, j
}

// inProcess is a portal without a network. A handler that panics with
// http.ErrAbortHandler resets its connection.
type inProcess struct{ portal http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	conn := new(countingConn)
	trace.GotConn(httptrace.GotConnInfo{Conn: conn})
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	trace.WroteHeaderField("", nil)
	conn.written.Add(1)
	in := httptest.NewRequestWithContext(context.WithoutCancel(req.Context()), req.Method, req.URL.RequestURI(), strings.NewReader(string(body)))
	in.Header, in.Host, in.RequestURI = req.Header.Clone(), req.Host, req.URL.RequestURI()
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		defer func() { recover() }()
		recorder := httptest.NewRecorder()
		t.portal.ServeHTTP(recorder, in)
		answered <- recorder.Result()
	}()
	select {
	case resp := <-answered:
		if resp == nil {
			return nil, errors.New("connection reset by peer")
		}
		resp.Request = req
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// call sends one request through the proxy.
func (p *Proxy) call(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	return p.callContext(context.Background(), method, target, body, headers...)
}

func (p *Proxy) callContext(ctx context.Context, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.RequestURI = target
	r.Host = "127.0.0.1:8080"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// A shownError is an error as a caller reads it.
type shownError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Proxy       struct {
		Source, Reason, Executed string
		Retryable                bool
		PortalStatus             int    `json:"portal_status"`
		RequestID                string `json:"request_id"`
	}
}

// errorOf reads the error of an answer.
func errorOf(t *testing.T, w *httptest.ResponseRecorder) (e shownError) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return e
}

// simulate makes a portal of the standard plan.
func simulate(t *testing.T, faults ...string) *b24sim.Portal {
	t.Helper()
	c := b24sim.Config{Rate: 2, Burst: 50, RefusedCount: true, Seed: 7}
	for _, text := range faults {
		c.Faults = append(c.Faults, must(b24sim.ParseFault(text)))
	}
	return b24sim.New(c)
}

func mustURL(s string) *url.URL { return must(url.Parse(s)) }

func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

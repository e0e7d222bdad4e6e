package b24sim

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The log has each request exactly as it came, so that tests can compare it.
func TestCallsAreExact(t *testing.T) {
	p := New(Config{})
	body := `{"fields":{"TITLE":"marker-1"},"auth":"invented-token"}`
	call(t, p, "POST", "/rest//crm.deal.add.json/?b;c=1&x=%zz", jsonType, body)
	c := p.Calls()[0]
	if c.Seq != 1 || c.Verb != "POST" || c.Path != "/rest//crm.deal.add.json/" || c.Query != "b;c=1&x=%zz" ||
		string(c.Body) != body || c.BodyBytes != len(body) || c.Method != "crm.deal.add" || c.Version != 2 ||
		!c.Ran || c.Refused || c.Status != 200 || c.Remote != "192.0.2.1" || c.Header.Get("Content-Type") != jsonType {
		t.Errorf("got %+v, want what was sent", c)
	}
}

// No secret of a call is in its masked copy, in its line for logs, or in the log
// of the portal.
func TestSecretsAreMasked(t *testing.T) {
	const secret = "s3cret+/=x"
	var log bytes.Buffer
	p := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	requests := []struct{ target, contentType, body, authorization string }{
		{"/rest/1/s3cret/profile", "", "", ""},
		{"/rest/1/s3cret", "", "", ""},
		{"/rest/s3cret", "", "", ""},
		{"/rest/s3cret/", "", "", ""},
		{"/rest/api/1/s3cret", "", "", ""},
		{"/rest/api/1/s3cret/tasks.task.list", "", "", ""},
		{"/rest/profile?auth=s3cret%2B%2F%3Dx", "", "", ""},
		{"/rest/profile", form, "access_token=s3cret%2B%2F%3Dx", ""},
		{"/rest/profile", jsonType, `{"auth":"` + secret + `"}`, ""},
		{"/rest/profile", jsonType, `{"auth":{"access_token":"` + secret + `"}}`, ""},
		{"/rest/profile", "", "", "Bearer " + secret},
		{"/rest/download.json?token=s3cret", "", "", ""},
		{"/disk/file?token=s3cret", "", "", ""},
		{"/oauth/token?client_secret=s3cret&refresh_token=s3cret", "", "", ""},
	}
	for _, request := range requests {
		r := httptest.NewRequest(http.MethodPost, request.target, strings.NewReader(request.body))
		r.Header.Set("Content-Type", request.contentType)
		if request.authorization != "" {
			r.Header.Set("Authorization", request.authorization)
		}
		p.ServeHTTP(httptest.NewRecorder(), r)
	}
	w := httptest.NewRecorder()
	p.Management().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/calls", nil))
	for _, text := range []string{w.Body.String(), log.String()} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "s3cret") {
				t.Errorf("got a secret in %s", line)
			}
		}
	}
	if got := strings.Count(w.Body.String(), "***"); got < len(requests) {
		t.Errorf("got %d masks, want at least one per request", got)
	}
}

// The log has a bound on calls and on bytes, and drops the oldest calls.
func TestLogBounded(t *testing.T) {
	var l callLog
	for range maxLogCalls + 5 {
		l.add(&Call{})
	}
	if len(l.calls) != maxLogCalls || l.calls[0].Seq != 6 {
		t.Errorf("got %d calls from number %d, want %d from 6", len(l.calls), l.calls[0].Seq, maxLogCalls)
	}
	body := make([]byte, maxLogBody)
	for range maxLogBytes/maxLogBody + 5 {
		l.add(&Call{Body: body})
	}
	if l.bytes > maxLogBytes || len(l.calls) != maxLogBytes/maxLogBody {
		t.Errorf("got %d bytes of %d calls, want at most %d", l.bytes, len(l.calls), maxLogBytes)
	}
	if got := clip(make([]byte, maxLogBody+1)); len(got) != maxLogBody {
		t.Errorf("got %d bytes of a body, want %d", len(got), maxLogBody)
	}
}

// A call whose caller leaves while it sends its body is in the log, but does not
// count and does not run.
func TestIncompleteBody(t *testing.T) {
	p := New(Config{Burst: 50, Rate: 2})
	r := httptest.NewRequest(http.MethodPost, hook+"crm.deal.add", io.MultiReader(strings.NewReader("{"), brokenReader{}))
	p.ServeHTTP(httptest.NewRecorder(), r)
	if c := p.Calls()[0]; !c.Incomplete || c.Ran || p.Ran("crm.deal.add") != 0 || p.Level() != 0 || p.Arrived() != 1 {
		t.Errorf("got %+v and the level %d, want an incomplete call and 0", c, p.Level())
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("gone") }

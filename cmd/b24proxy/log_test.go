package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// However a call ends, every line of the log has the format that was set, the
// log has the call's request id, and no log line, metric or error shows a
// secret.
func TestLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run("the format is "+format, func(t *testing.T) {
			sim, url := portal(t, b24sim.Config{Faults: faults(t,
				"crm.deal.get:reset-after", "crm.deal.update:OVERLOAD_LIMIT", "crm.deal.delete:html", "crm.deal.fields:QUERY_LIMIT_EXCEEDED:first=1")})
			gone := httptest.NewServer(http.NotFoundHandler())
			gone.Close()
			p := launch(t, "UPSTREAM="+url, "LOG_LEVEL=debug", "LOG_FORMAT="+format,
				"CONNECT_TO=*.bitrix24.com="+strings.TrimPrefix(gone.URL, "http://"))
			seen := sendAll(t, p)
			seen += string(call(t, "GET", p.admin+"/metrics", "").body)
			if sim.Arrived() == 0 {
				t.Error("got no calls at the portal, want some")
			}
			p.signal(syscall.SIGTERM)
			if code := p.wait(); code != 0 {
				t.Errorf("got exit code %d, want 0", code)
			}
			log := p.logged()
			for line := range strings.Lines(log + seen) {
				if strings.Contains(strings.ToLower(line), "s3cret") {
					t.Errorf("got a secret in %s", line)
				}
			}
			for line := range strings.Lines(log) {
				if !wellFormed(format, line) {
					t.Errorf("got the line %q, want one of the format %s", line, format)
				}
			}
			for _, want := range []string{"serving", "stopping", "stopped", "sending again", "call-0", "call-8"} {
				if !strings.Contains(log, want) {
					t.Errorf("got a log without %q, want it there", want)
				}
			}
		})
	}
}

// sendAll makes calls that end in every way, with secrets in all places, and
// returns the errors and headers that their clients got.
func sendAll(t *testing.T, p *process) string {
	t.Helper()
	var seen strings.Builder
	for i, target := range []string{
		"/rest/1/s3cretcode/crm.deal.add", "/rest/1/s3cretcode/crm.deal.get", "/rest/1/s3cretcode/crm.deal.update",
		"/rest/1/s3cretcode/crm.deal.delete", "/rest/1/s3cretcode/crm.deal.fields", "/rest/crm.deal.list?auth=s3crettoken",
		"/rest/s3cretcode", "/acme.bitrix24.com/rest/1/s3cretcode/profile", "/evil.example.com/rest/1/s3cretcode/profile",
	} {
		a := call(t, "POST", p.clients+target, `{"auth":"s3crettoken"}`, "Authorization", "Bearer s3crettoken",
			"Proxy-Authorization", "Basic s3cret", "X-Request-Id", "call-"+string(rune('0'+i)))
		if a.err != nil {
			t.Errorf("%s: got %v, want an answer", target, a)
		}
		if a.status >= 400 {
			seen.Write(a.body)
		}
		for name, values := range a.header {
			seen.WriteString("\n" + name + ": " + strings.Join(values, ", "))
		}
		seen.WriteByte('\n')
	}
	return seen.String()
}

var textLine = regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO|WARN|ERROR) msg=("(\\.|[^"])*"|\S+)( [a-z_]+=("(\\.|[^"])*"|[^\s"]*))*\n$`)

func wellFormed(format, line string) bool {
	if format == "text" {
		return textLine.MatchString(line)
	}
	var fields struct {
		Time       time.Time
		Level, Msg string
	}
	return json.Unmarshal([]byte(line), &fields) == nil && !fields.Time.IsZero() && fields.Level != "" && fields.Msg != ""
}

// With the default settings a call that succeeds has no line in the log.
func TestQuietLog(t *testing.T) {
	t.Parallel()
	_, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url)
	for range 20 {
		call(t, "POST", p.clients+add, "{}").wantOK(t)
	}
	if log := p.logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "version=v1.2.3") {
		t.Errorf("got the log\n%s\nwant one line, of the start", log)
	}
}

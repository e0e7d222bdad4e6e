package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/metrics"
)

// A logged line is one of the log, as JSON.
type logged struct {
	Level, Msg, Portal, Call, Client, Code, Reason, Executed, Error string
	Outcome                                                         metrics.Outcome
	RequestID                                                       string `json:"request_id"`
	HTTPMethod                                                      string `json:"http_method"`
	RequestedPortal                                                 string `json:"requested_portal"`
	Status, Attempts                                                int
	RetryAfter                                                      int `json:"retry_after"`
	PortalStatus                                                    int `json:"portal_status"`
	Took                                                            time.Duration
}

// jsonLog writes lines of JSON from a level on.
func jsonLog(to *bytes.Buffer, level slog.Level) func(*Config) {
	return func(c *Config) { c.Log = slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level})) }
}

// linesOfR1 returns the lines about the request r1.
func linesOfR1(t *testing.T, log *bytes.Buffer) (lines []logged) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var l logged
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.RequestID == "r1" {
			lines = append(lines, l)
		}
	}
	return lines
}

// Every call that fails has one line, whose fields say all that its caller
// could ask about.
func TestCallLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		portal string // a fault of the simulator
		target string
		header [2]string
		want   logged
	}{
		{"a system error", "*:expired_token", deal, [2]string{}, logged{Level: "INFO", Status: 401, Code: "expired_token", Reason: "auth", Executed: "no", Outcome: metrics.PortalError, Attempts: 1, PortalStatus: 401}},
		{"a page", "*:html:status=502", deal, [2]string{}, logged{Level: "INFO", Status: 500, Code: "ERROR_UNEXPECTED_ANSWER", Reason: "html", Executed: "unknown", Outcome: metrics.PortalError, Attempts: 1, PortalStatus: 502}},
		{"a method's own error", "*:error=\"ERROR_CORE\"", deal, [2]string{}, logged{Level: "INFO", Status: 400, Code: "ERROR_CORE", Reason: "method_error", Executed: "yes", Outcome: metrics.MethodError, Attempts: 1, PortalStatus: 400}},
		{"a reset", "*:reset-after", deal, [2]string{}, logged{Level: "WARN", Status: 500, Code: "ERROR_UNEXPECTED_ANSWER", Reason: "reset", Executed: "unknown", Outcome: metrics.PortalError, Attempts: 1}},
		{"silence", "*:slow=5m", deal, [2]string{}, logged{Level: "WARN", Status: 500, Code: "ERROR_UNEXPECTED_ANSWER", Reason: "timeout", Executed: "unknown", Outcome: metrics.PortalError, Attempts: 1, Error: "The portal did not answer in time: silent for 1m5s (B24PROXY_UPSTREAM_TIMEOUT); the call may have run"}},
		{"a wrong host", "", deal, [2]string{"B24-Portal", "evil.example.com"}, logged{Level: "INFO", Portal: "none", Status: 403, Code: "PORTAL_NOT_ALLOWED", Reason: "portal_not_allowed", Executed: "no", Outcome: metrics.Rejected, RequestedPortal: "evil.example.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				p := newProxy(t, jsonLog(&log, slog.LevelInfo)).behind(simulate(t, strings.Fields(c.portal)...))
				p.call("POST", c.target, "{}", "X-Request-Id", "r1", "B24-Client", "crm-sync", cmp.Or(c.header[0], "X-None"), c.header[1])
				lines := linesOfR1(t, &log)
				if len(lines) != 1 {
					t.Fatalf("%d lines, want one:\n%s", len(lines), log.String())
				}
				got := lines[0]
				want := c.want
				want.Msg, want.RequestID, want.Call, want.Client, want.HTTPMethod = "call", "r1", "v2 crm.deal.add", "crm-sync", "POST"
				want.Portal = cmp.Or(want.Portal, "acme.bitrix24.com")
				want.Took = got.Took
				if want.Error == "" {
					want.Error = got.Error
				}
				if got != want {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
				if strings.Contains(log.String(), "retry_after") {
					t.Errorf("a time to wait that no caller read: %s", log.String())
				}
				time.Sleep(time.Hour) // the portal goes on alone
			})
		})
	}
}

// What is sent again is logged with the call, and with what came of the attempt
// before.
func TestSendingAgainIsLogged(t *testing.T) {
	const list = hook + "/crm.deal.list"
	for name, c := range map[string]struct {
		fault, target string
		want          logged
	}{
		"a write that the portal refused": {"*:QUERY_LIMIT_EXCEEDED:first=1", deal, logged{Call: "v2 crm.deal.add", Status: 503, Code: "QUERY_LIMIT_EXCEEDED", Reason: "refused", Executed: "no"}},
		"a read that came back as a page": {"*:html:status=502:first=1", list, logged{Call: "v2 crm.deal.list", Status: 502, Code: "ERROR_UNEXPECTED_ANSWER", Reason: "html", Executed: "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				p := newProxy(t, jsonLog(&log, slog.LevelInfo)).behind(simulate(t, c.fault))
				p.call("POST", c.target, "{}", "X-Request-Id", "r1", "B24-Client", "crm-sync")
				want := c.want
				want.Level, want.Msg, want.RequestID, want.Portal, want.Client, want.HTTPMethod, want.Attempts = "INFO", "sending again", "r1", "acme.bitrix24.com", "crm-sync", "POST", 1
				if lines := linesOfR1(t, &log); len(lines) != 1 || lines[0] != want {
					t.Errorf("got  %+v\nwant %+v", lines, want)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// A call that gets no slot is logged with the Retry-After that its caller reads,
// and no other time.
func TestCallLogOfARejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newProxy(t, jsonLog(&log, slog.LevelInfo)).behind(simulate(t))
		for range 49 {
			p.call("POST", deal, "{}")
		}
		w := p.call("POST", deal, "{}", "Prefer", "wait=0", "X-Request-Id", "r1")
		lines := linesOfR1(t, &log)
		if len(lines) != 1 || w.Header().Get("Retry-After") != "1" || lines[0].RetryAfter != 1 || strings.Contains(log.String(), "try again in") ||
			lines[0].Executed != "no" || lines[0].Reason != "queue_wait" || lines[0].Attempts != 0 {
			t.Errorf("%v:\n%s", w.Header(), log.String())
		}
	})
}

// What failed without an object of ours has a reason too.
func TestCallLogWithoutAnObject(t *testing.T) {
	for name, c := range map[string]struct {
		target       string
		portal       http.Handler
		reason, code string
	}{
		"502 outside /rest/": {"/upload/a.jpg", fixed(502, "text/html", nil), "status", "none"},
		"half a long answer": {deal, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "2000000")
			w.Write([]byte(`{"result":"` + strings.Repeat("x", 1_000_000)))
		}), "truncated", "ERROR_UNEXPECTED_ANSWER"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := beforePortal(t, c.portal, jsonLog(&log, slog.LevelInfo))
			func() {
				defer func() { recover() }() // half an answer cuts the connection
				p.call("POST", c.target, "", "X-Request-Id", "r1")
			}()
			lines := linesOfR1(t, &log)
			if len(lines) != 1 || lines[0].Outcome != metrics.PortalError || lines[0].Reason != c.reason || lines[0].Code != c.code || lines[0].Executed != "unknown" {
				t.Errorf("%s", log.String())
			}
		})
	}
}

// A caller who leaves is logged as such.
func TestCallLogOfAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newProxy(t, jsonLog(&log, slog.LevelInfo)).behind(simulate(t, "*:slow=10s"))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		p.callContext(ctx, "POST", deal, "{}", "X-Request-Id", "r1")
		lines := linesOfR1(t, &log)
		if len(lines) != 1 || lines[0].Outcome != metrics.Abandoned || lines[0].Reason != "client_left" || lines[0].Executed != "unknown" || lines[0].Status != 0 {
			t.Errorf("%s", log.String())
		}
		time.Sleep(time.Minute)
	})
}

// A call that went well has a line at debug, and at info where all are asked
// for.
func TestCallLogOfSuccess(t *testing.T) {
	for _, c := range []struct {
		all   bool
		level slog.Level
		want  string
	}{
		{false, slog.LevelInfo, ""}, {true, slog.LevelInfo, "INFO"}, {false, slog.LevelDebug, "DEBUG"}, {true, slog.LevelWarn, ""},
	} {
		var log bytes.Buffer
		edit := jsonLog(&log, c.level)
		p := newProxy(t, func(config *Config) { edit(config); config.LogAllCalls = c.all }).behind(good)
		p.call("GET", deal, "", "X-Request-Id", "r1")
		lines := linesOfR1(t, &log)
		if c.want == "" {
			if len(lines) != 0 {
				t.Errorf("all=%v from %v: %s", c.all, c.level, log.String())
			}
			continue
		}
		want := logged{
			Level: c.want, Msg: "call", Portal: "acme.bitrix24.com", Call: "v2 crm.deal.add", Client: "webhook 1", RequestID: "r1", HTTPMethod: http.MethodGet,
			Status: 200, Code: "none", Reason: "none", Executed: "yes", Outcome: metrics.OK, Attempts: 1,
		}
		if len(lines) != 1 {
			t.Fatalf("all=%v from %v: %s", c.all, c.level, log.String())
		}
		got := lines[0]
		want.Took = got.Took
		if want.Client = got.Client; got != want || !strings.HasPrefix(got.Client, "webhook ") {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// Only what comes from outside is redacted: our own texts stay whole.
func TestOwnWordsAreNotRedacted(t *testing.T) {
	var log bytes.Buffer
	p := New(Config{Portals: CloudPortals(), MaxBody: 1, MetricsPortals: 1, Log: debugLog(&log)})
	p.call("GET", "/rest/1/s3cret/profile", "")
	if text := log.String(); !strings.Contains(text, "(/acme.bitrix24.com/rest/...)") || strings.Contains(text, "s3cret") || !strings.Contains(text, "portal=none") {
		t.Error(text)
	}
}

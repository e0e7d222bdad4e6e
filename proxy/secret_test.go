package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/joining"
	"b24proxy/proxy/operator"
)

// secretives are values of all types that hold what must not be printed. Each holds
// the word s3cret in all places.
func secretives(t *testing.T) map[string]any {
	t.Helper()
	const raw = "/rest/1/s3cretcode/crm.deal.add?auth=s3crettoken"
	address := must(url.Parse("https://user:s3cret@acme.bitrix24.com" + raw))
	r := newRoute("https", "acme.bitrix24.com", raw)
	body := &body{head: []byte("auth=s3crettoken"), size: 16, path: "/tmp/s3cret"}
	ex := &exchange{id: "r1", route: r, body: body, cred: bitrix24.FindCredential(r.call, "", "", "", nil)}
	config := Config{OutboundProxy: must(url.Parse("http://user:s3cret@proxy.example:3128"))}
	withKeys(&config)
	p := newProxy(t, func(c *Config) { c.OutboundProxy = config.OutboundProxy; withKeys(c) })
	f := networkFailure(t.Context(), &url.Error{Op: "Post", URL: address.String(), Err: errors.New("s3cret")}, true)
	read, reason := joining.Prepare(joining.Request{
		Verb: "GET", Path: "/rest/crm.deal.list", Query: "auth=s3crettoken&s3cret=1", Call: bitrix24.ParseCall("/rest/crm.deal.list"), Header: http.Header{},
	})
	if reason != "" {
		t.Fatalf("got a read alone for %q, want a rider", reason)
	}
	passenger := &rider{read: read}
	answer := &joinedAnswer{header: http.Header{"X": {"s3cret"}}, body: []byte("s3cret")}
	return map[string]any{
		"a route": r, "a pointer to a route": &r, "an exchange": ex, "a body": body, "a head": &head{line: "POST " + raw + " HTTP/1.1"},
		"feedback": &feedback{call: operator.Call{RequestID: "r1"}, route: r, body: body.head}, "a failure": f, "the settings": config, "a pointer to the settings": &config,
		"the clients": config.Clients, "a credential": ex.cred, "a call": ex.call("POST"), "the proxy": p, "a context": ex.in(t.Context()),
		"a rider": passenger, "a joined answer": answer, "a ride": ride{answer: answer}, "a batch": &joinedBatch{riders: []*rider{passenger}, exchange: ex},
		"a tunnel": &tunnelConn{earlyConn: earlyConn{early: []byte("s3cret")}, host: "acme.bitrix24.com"}, "a connection": &earlyConn{early: []byte("s3cret")},
		"an attempt": &attempt{err: f, answer: bitrix24.Answer{}},
	}
}

// However a value that holds secrets is printed, it shows none: by itself, within
// others, as an error, by slog, and in the log of a panic.
func TestSecretsAreNotPrinted(t *testing.T) {
	for name, value := range secretives(t) {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", value)
				fmt.Fprintf(&out, verb+"\n", []any{value})
				fmt.Fprintf(&out, verb+"\n", map[string]any{"key": value})
			}
			fmt.Fprintln(&out, fmt.Errorf("wrapped: %w", errors.Join(fmt.Errorf("%v", value))))
			for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
				log.Info("", "value", value, "group", slog.GroupValue(slog.Any("value", value)))
				log.With("value", value).Error("")
			}
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&out) })
			p.reverse.Transport.(*transport).sender.base = panicking(func(*http.Request) *http.Response { panic(value) })
			if w := p.call("POST", "/rest/1/s3cretcode/crm.deal.add", "auth=s3crettoken"); w.Code != 500 {
				t.Errorf("got %d for a panic, want 500", w.Code)
			} else {
				out.Write(w.Body.Bytes())
			}
			wantNoSecret(t, out.String())
		})
	}
}

// wantNoSecret fails the test if a text has the word s3cret: plain, in hexadecimal, in
// base64, or as the numbers of its bytes.
func wantNoSecret(t *testing.T, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	numbers := strings.Trim(fmt.Sprint([]byte("s3cret")), "[]")
	for _, form := range []string{"s3cret", fmt.Sprintf("%x", "s3cret"), numbers, "0x73, 0x33, 0x63"} {
		if at := strings.Index(lower, form); at >= 0 {
			t.Errorf("got a secret as %q in …%s…", form, text[max(0, at-200):min(len(text), at+100)])
		}
	}
	for _, form := range []string{"czNjcmV0", "MzY3JldH", "zM2NyZX", "zY3JldA"} { // s3cret in base64, by its place
		if strings.Contains(text, form) {
			t.Errorf("got a secret in base64 (%s) in %.2000s", form, text)
		}
	}
}

// A panic that has a text of its own may repeat what a client sent in any form, so
// only its type is logged. That of a runtime error holds none, and is.
func TestPanicsShowNoTextOfTheirOwn(t *testing.T) {
	for name, c := range map[string]struct {
		cause any
		want  string
	}{
		"a text":             {"no such token: s3crettoken", `panic="string (its text is left out, since it may hold a secret)"`},
		"an error":           {errors.New("s3crettoken"), `panic="*errors.errorString (its text`},
		"an address":         {&url.Error{Op: "Post", URL: "https://acme.bitrix24.com/?k=s3cret", Err: errors.New("x")}, `panic="*url.Error (its text`},
		"headers":            {http.Header{"Authorization": {"Bearer s3cret"}}, `panic="http.Header (its text`},
		"an index too large": {nil, `panic="runtime error: index out of range [5] with length 0"`},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) })
			p.reverse.Transport.(*transport).sender.base = panicking(func(req *http.Request) *http.Response {
				if c.cause == nil {
					return []*http.Response{}[len(req.Method)+1]
				}
				panic(c.cause)
			})
			p.call("POST", deal, "")
			if !strings.Contains(log.String(), c.want) {
				t.Errorf("got the log %s, want %s", &log, c.want)
			}
			wantNoSecret(t, log.String())
		})
	}
}

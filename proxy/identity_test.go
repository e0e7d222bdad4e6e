package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
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
	"a webhook's user and code":  "1/S3cretCode0123",
	"them behind a host":         "acme.bitrix24.com/1/S3cretCode0123/",
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
				t.Errorf("got %.99q for the caller and %.99q for the portal, want one new ID and no secret in the log:\n%.999s", id, sent, &log)
			}
		})
		t.Run("B24-Client counts as absent where it holds "+what, func(t *testing.T) {
			var log strings.Builder
			p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(good)
			p.call("POST", deal, "", "B24-Client", name)
			if strings.Contains(log.String(), "S3cret") || !strings.Contains(log.String(), `client="webhook `) {
				t.Errorf("got the log %s, want the webhook as the client and no secret", log.String())
			}
		})
	}
	t.Run("plain names of up to 128 characters are taken", func(t *testing.T) {
		for _, name := range []string{"a", "crm-sync", "Root=1-5759e988-bd862e3fe1be46a994272793", "a/b.c:d+e_f=", strings.Repeat("x", 128), "interest", "team/7/crm", "v2/1-5759e988-bd862e3fe1be46a994272793"} {
			h := http.Header{"X-Request-Id": {name}}
			if got := requestID(h); got != name {
				t.Errorf("got %q, want %q", got, name)
			}
		}
	})
	t.Run("only one id reaches the portal, and none where the caller had none", func(t *testing.T) {
		h := http.Header{"X-Request-Id": {"", "/rest/1/S3cret"}}
		stripOwnHeaders(h, "ours")
		none := http.Header{}
		stripOwnHeaders(none, "ours")
		if got := fmt.Sprint(h, none); got != "map[X-Request-Id:[ours]] map[]" {
			t.Errorf("got %s, want the ID of the log in place of the caller's, and none where the caller sent none", got)
		}
	})
}

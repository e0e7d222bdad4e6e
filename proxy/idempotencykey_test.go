package proxy

import (
	"net/http"
	"strings"
	"testing"
)

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

// A write of version 3 with an idempotency key may be sent again. Version 2 ignores the
// key.
func TestIdempotencyKey(t *testing.T) {
	for path, sent := range map[string]int{"/rest/api/tasks.task.add": 2, "/rest/tasks.task.add": 1, "/rest/api/batch": 1} {
		n := 0
		p := newProxy(t, nil).behind(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n++
			panic(http.ErrAbortHandler)
		}))
		w := p.call("POST", path, "{}", "Idempotency-Key", "key-1")
		if e := tell(t, w); w.Code != 500 || e.Proxy.Retryable != (sent == 2) || n != sent {
			t.Errorf("%s: got %d %+v after %d requests, want 500 after %d", path, w.Code, e, n, sent)
		}
	}
}

// A caller may repeat a write of version 3 with an idempotency key in any case, and no
// other write.
func TestIdempotencyKeyMakesRetryable(t *testing.T) {
	for path, want := range map[string]bool{"/rest/api/tasks.task.add": true, "/rest/tasks.task.add": false} {
		p := newProxy(t, nil).behind(fixed(502, "text/html", []byte("<html>")))
		if e := tell(t, p.call("POST", path, "{}", "Idempotency-Key", "key-1")); e.Proxy.Retryable != want || e.Proxy.Executed != "unknown" {
			t.Errorf("%s: got %+v, want retryable %v, executed unknown", path, e, want)
		}
	}
}

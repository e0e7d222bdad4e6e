package b24sim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// callWithKey sends a POST with an Idempotency-Key.
func callWithKey(p *Portal, target, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }() // a reset without a connection is a panic
		p.ServeHTTP(w, r)
	}()
	return w
}

// A write of REST 3.0 that is repeated with its key within 24 hours runs once, even
// if its first answer was lost.
func TestIdempotencyKey(t *testing.T) {
	const target = "/rest/api/1/invented-code/tasks.task.add"
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Faults: []Fault{{Kind: "reset-after", First: 1}}})
		callWithKey(p, target, "key-1", `{"fields":{}}`)
		w := callWithKey(p, target, "key-1", `{"fields":{}}`)
		if w.Code != 200 || w.Header().Get("Idempotent-Replayed") != "true" || p.Ran("tasks.task.add") != 1 {
			t.Errorf("got %d %v and %d run, want the stored answer and one", w.Code, w.Header(), p.Ran("tasks.task.add"))
		}
		if c := p.Calls()[1]; !c.Replayed || c.Ran {
			t.Errorf("got the log %v, want replayed and not run", c)
		}
		callWithKey(p, target, "key-2", `{"fields":{}}`)
		callWithKey(p, target, "key-1", `{"fields":{"title":"x"}}`)
		if p.Ran("tasks.task.add") != 3 {
			t.Errorf("another key or body: got %d run, want 3", p.Ran("tasks.task.add"))
		}
		time.Sleep(24 * time.Hour)
		callWithKey(p, target, "key-1", `{"fields":{}}`)
		if p.Ran("tasks.task.add") != 4 {
			t.Errorf("after a day: got %d run, want 4", p.Ran("tasks.task.add"))
		}
	})
}

// A key has no effect with v2, with reads and after failures. A key that is not
// valid is an error.
func TestIdempotencyKeyLimits(t *testing.T) {
	p := New(Config{Faults: []Fault{{Method: "note.*", Kind: "INTERNAL_SERVER_ERROR", Run: RunBefore, First: 1}}})
	for target, want := range map[string]int{
		hook + "crm.deal.add":                           2,
		"/rest/api/1/invented-code/tasks.task.list":     2,
		"/rest/api/1/invented-code/note.collection.add": 1,
	} {
		callWithKey(p, target, "key", `{}`)
		callWithKey(p, target, "key", `{}`)
		if got := p.Ran(parseAddress(target).method); got != want {
			t.Errorf("%s: got %d run, want %d", target, got, want)
		}
	}
	for _, key := range []string{"", "tab\there", strings.Repeat("x", 256)} {
		if w := callWithKey(p, "/rest/api/1/invented-code/tasks.task.add", key, `{}`); w.Code != 400 {
			t.Errorf("the key %q: got %d, want 400", key, w.Code)
		}
	}
}

// The store is bounded and drops the oldest success first.
func TestRepliesBounded(t *testing.T) {
	p := New(Config{})
	for i := range maxReplies + 10 {
		p.store([32]byte{byte(i), byte(i >> 8)}, object())
	}
	if len(p.replies.byKey) != maxReplies || p.stored([32]byte{0}) != nil || p.stored([32]byte{10}) == nil {
		t.Errorf("got %d stored, want %d without the oldest", len(p.replies.byKey), maxReplies)
	}
}

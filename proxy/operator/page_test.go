package operator

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The page and its parts come with a policy that lets nothing else in.
func TestPageFiles(t *testing.T) {
	o := newTestOperator(t, nil)
	for path, contentType := range map[string]string{"/": "text/html", "/page/page.css": "text/css", "/page/page.js": "text/javascript", "/page/icon.svg": "image/svg+xml"} {
		w := o.get(path, "localhost")
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), contentType) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, outside := range []string{"src=\"http", "href=\"http", "url(http", "innerHTML", "style=\""} {
			if strings.Contains(w.Body.String(), outside) {
				t.Errorf("%s holds %s", path, outside)
			}
		}
	}
	if w := o.get("/page/../go.mod", "localhost"); w.Code == 200 {
		t.Error("a file outside is served")
	}
}

// The stream begins at once with the state of the page, and ends when the proxy
// stops.
func TestEvents(t *testing.T) {
	o := newTestOperator(t, nil)
	server := httptest.NewServer(o.Handler())
	defer server.Close()
	resp := must(http.Get(server.URL + "/events"))
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: got %q, want text/event-stream", got)
	}
	messages := bufio.NewScanner(resp.Body)
	messages.Split(splitMessages)
	next := func() string {
		if !messages.Scan() {
			t.Fatalf("the stream is over: %v", messages.Err())
		}
		return messages.Text()
	}
	if got := next(); !strings.HasPrefix(got, `data: <div id="page"`) || !strings.Contains(got, "No calls yet") {
		t.Errorf("first %q", got)
	}
	o.viewers.publish(&status{Proxy: proxyStatus{Version: "v2"}, Series: new(seriesStatus)})
	if got := next(); !strings.Contains(got, `data-version="v2"`) {
		t.Errorf("then %q", got)
	}
	o.viewers.close()
	if got := next(); got != "event: end\ndata: " {
		t.Errorf("at the end %q", got)
	}
	if w := o.get("/events", "localhost"); w.Code != 503 {
		t.Errorf("after the stop: got %d, want 503", w.Code)
	}
}

// splitMessages cuts an event stream at its blank lines.
func splitMessages(data []byte, _ bool) (advance int, message []byte, err error) {
	if end := bytes.Index(data, []byte("\n\n")); end >= 0 {
		return end + 2, data[:end], nil
	}
	return 0, nil, nil
}

// Each line of a message has a prefix, however it ends: no line of what a portal
// or a client sends is one of the stream's own.
func TestEventLines(t *testing.T) {
	got := string(event([]byte("a\nb\r\nc\revent: end\rd")))
	if want := "data: a\ndata: b\ndata: c\ndata: event: end\ndata: d\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

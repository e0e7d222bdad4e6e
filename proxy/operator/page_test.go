package operator

import (
	"bufio"
	"encoding/json"
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

// The stream begins at once, and ends when the proxy stops.
func TestEvents(t *testing.T) {
	o := newTestOperator(t, nil)
	server := httptest.NewServer(o.Handler())
	defer server.Close()
	resp := must(http.Get(server.URL + "/events"))
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	if data, ok := strings.CutPrefix(lines.Text(), "data: "); !ok || !json.Valid([]byte(data)) {
		t.Errorf("got %q", lines.Text())
	}
	o.watchers.publish([]byte(`{"second":true}`))
	o.watchers.close()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if got := strings.Join(rest, "|"); got != `|data: {"second":true}||event: end|data: |` {
		t.Errorf("then %q", got)
	}
	if w := o.get("/events", "localhost"); w.Code != 503 {
		t.Errorf("after the stop: %d", w.Code)
	}
}

package operator

import (
	"embed"
	"fmt"
	"net/http"
	"time"
)

// The status page: one document with its style, script and icon, and a stream
// of what it shows. Nothing comes from elsewhere, and nothing that portals or
// clients send is ever markup.
//
//go:embed page
var pageFiles embed.FS

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routePage adds the page, its stream and its twin in JSON.
func (o *Operator) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { servePage(w, r, "page/page.html") })
	for _, name := range []string{"page/page.css", "page/page.js", "page/icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { servePage(w, r, name) })
	}
	mux.HandleFunc("GET /status", o.serveStatus)
	mux.HandleFunc("GET /events", o.serveEvents)
}

func servePage(w http.ResponseWriter, r *http.Request, name string) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	http.ServeFileFS(w, r, pageFiles, name)
}

// eventTimeout is how long a watcher may take to read one status.
const eventTimeout = 5 * time.Second

// serveEvents streams the status, at once and then every second, until the
// watcher leaves, is too slow, or the proxy stops.
func (o *Operator) serveEvents(w http.ResponseWriter, r *http.Request) {
	stream, ok := o.watchers.join(clientOf(r))
	if !ok {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many pages are open, or the proxy is stopping; /status has the same", http.StatusServiceUnavailable)
		return
	}
	defer o.watchers.leave(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Connection", "close") // a stream that ends leaves no connection behind
	control := http.NewResponseController(w)
	for status, more := o.snapshot(), true; more; {
		control.SetWriteDeadline(time.Now().Add(eventTimeout))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", status); err != nil || control.Flush() != nil {
			return
		}
		select {
		case status, more = <-stream:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprint(w, "event: end\ndata: \n\n")
}

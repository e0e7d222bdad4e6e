package operator

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// The status page: one document with its style, script and icon. The server
// renders what it shows, for the first time in the document and then every second
// in a stream, so that the markup is in one place and the page can be read without
// JavaScript. Nothing comes from elsewhere. html/template escapes all that portals
// and clients send, so none of it is markup.
//
//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "charts": charts, "clock": clock, "decimal": decimal, "parts": parts, "seconds": seconds,
	"count": func(n any, one string) string { return count(int64(toFloat(n)), one) },
}).ParseFS(pageFiles, "page/page.html"))

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routePage adds the page, its stream and its twin in JSON.
func (o *Operator) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", o.servePage)
	for _, name := range []string{"page/page.css", "page/page.js", "page/icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			setPolicy(w.Header())
			http.ServeFileFS(w, r, pageFiles, name)
		})
	}
	mux.HandleFunc("GET /status", o.serveStatus)
	mux.HandleFunc("GET /events", o.serveEvents)
}

func setPolicy(h http.Header) {
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
}

func (o *Operator) servePage(w http.ResponseWriter, r *http.Request) {
	setPolicy(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(o.render("document", o.status(), r))
}

// render shows a status as the request for the page, or for its stream, chose it.
func (o *Operator) render(part string, s *status, r *http.Request) []byte {
	var page bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&page, part, newView(s, choiceOf(r.URL.Query()), r.Host)); err != nil {
		o.config.Log.Error("the status page cannot be shown", "error", err)
	}
	return page.Bytes()
}

// eventTimeout is how long a viewer may take to read one state of the page.
const eventTimeout = 5 * time.Second

// serveEvents streams the state of the page, at once and then every second, until
// the viewer leaves, is too slow, or the proxy stops.
func (o *Operator) serveEvents(w http.ResponseWriter, r *http.Request) {
	stream, ok := o.viewers.join(clientOf(r))
	if !ok {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many status pages are open, or the proxy is stopping; /status has the same as JSON", http.StatusServiceUnavailable)
		return
	}
	defer o.viewers.leave(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Connection", "close") // a stream that ends leaves no connection behind
	control := http.NewResponseController(w)
	for s, more := o.status(), true; more; {
		control.SetWriteDeadline(time.Now().Add(eventTimeout))
		if _, err := w.Write(event(o.render("page", s, r))); err != nil || control.Flush() != nil {
			return
		}
		select {
		case s, more = <-stream:
		case <-r.Context().Done():
			return
		}
	}
	w.Write([]byte("event: end\ndata: \n\n"))
}

// lineEnds are those of an event stream.
var lineEnds = strings.NewReplacer("\r\n", "\ndata: ", "\r", "\ndata: ", "\n", "\ndata: ")

// event is a message of the stream, each line of it with a prefix.
func event(data []byte) []byte {
	return []byte("data: " + lineEnds.Replace(string(data)) + "\n\n")
}

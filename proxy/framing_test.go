package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A recordingPortal records the method, path and body of what reaches it.
type recordingPortal struct {
	mu  sync.Mutex
	got []string
}

func (p *recordingPortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, r.Method+" "+r.URL.Path+" "+string(body))
	io.WriteString(w, `{"result":1}`)
}

func (p *recordingPortal) arrived() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.got, ", ")
}

// serveClients lets the proxy serve as the program does, and returns the address.
func (p *Proxy) serveClients(t *testing.T) string {
	t.Helper()
	clients, admin := must(net.Listen("tcp", "127.0.0.1:0")), must(net.Listen("tcp", "127.0.0.1:0"))
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { p.Serve(ctx, Listeners{Clients: clients, Admin: admin}, 10*time.Second) })
	t.Cleanup(func() { stop(); serving.Wait() })
	return clients.Addr().String()
}

var statusLine = regexp.MustCompile(`HTTP/1\.\d (\d{3}) `) // also right behind a body without a line end

// On one connection a client writes requests that other programs may read differently
// than net/http. One without a clear end does not reach the portal, and nothing is
// served after one that may end elsewhere.
func TestUnclearFraming(t *testing.T) {
	const (
		next   = "POST /rest/next HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
		last   = "POST /rest/last HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		chunks = "5\r\nhello\r\n0\r\n\r\n"
	)
	for what, c := range map[string]struct {
		sent    string
		status  string // of the answers, in a row
		arrived string
	}{
		"HTTP/1.0 with chunks": {
			"POST /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "400", ""},
		"HTTP/1.0 with chunks and a length": {
			"POST /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 15\r\ntransfer-ENCODING: chunked\r\n\r\n" + chunks + last, "400", ""},
		"HTTP/1.0 with another encoding": {
			"POST /rest/x HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nhello" + last, "400", ""},
		"HTTP/1.0 with bare line feeds": {
			"POST /rest/x HTTP/1.0\nHost: h\nContent-Length: 15\nTransfer-Encoding: chunked\n\n" + chunks + last, "400", ""},
		"HTTP/1.0, a GET with chunks": {
			"GET /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "400", ""},
		"HTTP/1.0, a POST without a length": {
			"POST /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" + last, "400", ""},
		"HTTP/1.0 with a length": {
			"POST /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" + last, "200", "POST /rest/x hello"},
		"HTTP/1.0 without a body": {
			"GET /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" + last, "200", "GET /rest/x "},
		"HTTP/1.0 with a body, after HTTP/1.1": {
			next + "POST /rest/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "200 400", "POST /rest/next "},
		"HTTP/1.1 with chunks and a length": {
			"POST /rest/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "400", ""},
		"HTTP/1.1 with chunks and a length, after another": {
			next + "POST /rest/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "200 400", "POST /rest/next "},
		"HTTP/1.1 with chunks and a length, for all resources": {
			"OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "400", ""},
		"HTTP/1.1 with chunks": {
			"POST /rest/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "200", "POST /rest/x hello"},
		"HTTP/1.1 with chunks, refused": {
			"POST /rest/x HTTP/1.1\r\nHost: h\r\nB24-Portal: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last, "403", ""},
		"HTTP/1.1 with a length": {
			"POST /rest/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + next + last, "200 200 200", "POST /rest/x hello, POST /rest/next , POST /rest/last "},
		"the words in a body and in a value": {
			"POST /rest/x HTTP/1.1\r\nHost: h\r\nX: transfer-encoding:\r\nContent-Length: 23\r\n\r\n\r\n\nTransfer-Encoding: x" + last, "200 200", "POST /rest/x \r\n\nTransfer-Encoding: x, POST /rest/last "},
	} {
		t.Run(what, func(t *testing.T) {
			portal := &recordingPortal{}
			address := newProxy(t, nil).behind(portal).serveClients(t)
			conn := must(net.Dial("tcp", address))
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			io.WriteString(conn, c.sent)
			content, _ := io.ReadAll(conn)
			var status []string
			for _, line := range statusLine.FindAllStringSubmatch(string(content), -1) {
				status = append(status, line[1])
			}
			if got := strings.Join(status, " "); got != c.status || portal.arrived() != c.arrived {
				t.Errorf("answered %s, want %s; the portal got %q, want %q\n%s", got, c.status, portal.arrived(), c.arrived, content)
			}
			if c.status == "400" && !strings.Contains(string(content), "REQUEST_NOT_READ") {
				t.Errorf("got %s, want REQUEST_NOT_READ", content)
			}
		})
	}
}

// A handler without the listener refuses what it can see.
func TestFramingWithoutTheListener(t *testing.T) {
	p := newProxy(t, nil).behind(good)
	server := httptest.NewServer(p)
	defer server.Close()
	for sent, want := range map[string]string{
		"POST /rest/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "400",
		"POST /rest/x HTTP/1.0\r\nContent-Length: 1\r\n\r\nx":                  "200",
	} {
		conn := must(net.Dial("tcp", server.Listener.Addr().String()))
		fmt.Fprint(conn, sent)
		if got := string(must(io.ReadAll(conn))); !strings.HasPrefix(got, "HTTP/1.0 "+want) {
			t.Errorf("%q: got %s, want %s", sent, got, want)
		}
		conn.Close()
	}
}

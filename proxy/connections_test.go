package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// ask sends one call on a new connection, and returns the status and the code of its
// answer.
func ask(t *testing.T, conn net.Conn) string {
	t.Helper()
	defer conn.Close()
	io.WriteString(conn, strings.Replace(toHost("acme.bitrix24.com"), "Connection: close\r\n", "", 1))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body := must(io.ReadAll(resp.Body))
	if resp.StatusCode == http.StatusOK {
		return "200"
	}
	return codeOf(t, resp, body)
}

// However many connections are open and idle, with and without a request before, a new
// one is served. The one that was idle for longest is closed.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	const most = 10
	p := newProxy(t, nil).behind(good)
	p.connections.most = most
	address := p.serveClients(t)
	var idle []net.Conn
	for i := range 3 * most {
		conn := must(net.Dial("tcp", address))
		defer conn.Close()
		if i%2 == 0 {
			io.WriteString(conn, "GET /rest/profile HTTP/1.1\r\nHost: h\r\n\r\n")
			must(http.ReadResponse(bufio.NewReader(conn), nil))
		}
		idle = append(idle, conn)
	}
	if got := ask(t, must(net.Dial("tcp", address))); got != "200" {
		t.Errorf("got %s, want 200", got)
	}
	idle[0].SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAll(idle[0]); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the oldest connection is open, want it to be closed")
	}
	eventually(t, "more connections are open than are allowed", func() bool { return p.connections.count() <= most })
}

// As long as every connection has a call under way, a new one gets an error and is
// closed, and the calls go on.
func TestTooManyCallsAtOnce(t *testing.T) {
	const most = 3
	arrived, answer := make(chan bool), make(chan bool)
	var log lockedBuffer
	p := newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-answer
		io.WriteString(w, `{"result":1}`)
	}))
	p.connections.most = most
	address := p.serveClients(t)
	var calls sync.WaitGroup
	for range most {
		calls.Go(func() {
			if got := ask(t, must(net.Dial("tcp", address))); got != "200" {
				t.Errorf("got %s for a call under way, want 200", got)
			}
		})
		<-arrived
	}
	for range 3 {
		if got := ask(t, must(net.Dial("tcp", address))); got != "REQUEST_NOT_KEPT" {
			t.Errorf("got %s, want REQUEST_NOT_KEPT", got)
		}
	}
	close(answer)
	calls.Wait()
	eventually(t, "the connections are not closed", func() bool { return p.connections.count() == 0 })
	go func() { <-arrived }()
	if got := ask(t, must(net.Dial("tcp", address))); got != "200" {
		t.Errorf("got %s afterwards, want 200", got)
	}
	if n := strings.Count(log.String(), `msg="too many connections`); n != 1 {
		t.Errorf("got %d warnings, want one within a minute", n)
	}
}

// Beyond the spare ones connections are closed at once.
func TestNoRoomForAnAnswer(t *testing.T) {
	cs := connections{most: 1, spare: 1, log: debugLog(io.Discard)}
	near, far := net.Pipe()
	defer far.Close()
	first := cs.admit(near)
	first.setIdle(false)
	second := cs.admit(near)
	if second == nil || !second.isExcess || first.isExcess {
		t.Fatalf("got %+v, want a connection in excess", second)
	}
	second.setIdle(false)
	if third := cs.admit(near); third != nil {
		t.Errorf("got %+v, want nil", third)
	}
	for range 2 {
		first.Close()
	}
	if cs.count() != 1 {
		t.Errorf("got %d open after one was closed, want 1", cs.count())
	}
}

// Connections in the handshake of TLS are idle, and an idle one of HTTP/2 is, too.
func TestIdleConnectionsOverTLS(t *testing.T) {
	const most = 4
	s := serveTLS(t, good, nil)
	s.p.connections.mu.Lock()
	s.p.connections.most = most
	s.p.connections.mu.Unlock()
	for i := range 3 * most {
		resp := must(s.client(t, i%2 == 0, "acme.bitrix24.com").Get("https://acme.bitrix24.com/rest/profile"))
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("got %s beside idle connections, want 200", resp.Status)
		}
		conn := must(net.Dial("tcp", s.tls)) // says nothing
		defer conn.Close()
	}
	eventually(t, "more connections are open than are allowed", func() bool { return s.p.connections.count() <= most })
}

// The limit of the process for open files bounds the connections, too.
func TestOpenFiles(t *testing.T) {
	if n := openFiles(); n < 16 {
		t.Errorf("got %d, want a number of files with which a program can work", n)
	}
}

// Operators, too, are not kept out by idle connections.
func TestIdleConnectionsOfOperators(t *testing.T) {
	p := newProxy(t, nil)
	p.operators.most = 2
	clients, admin := must(net.Listen("tcp", "127.0.0.1:0")), must(net.Listen("tcp", "127.0.0.1:0"))
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { p.Serve(ctx, Listeners{Clients: clients, Admin: admin}, 0) })
	defer serving.Wait()
	defer stop()
	for range 5 {
		defer must(net.Dial("tcp", admin.Addr().String())).Close()
	}
	resp := must(http.Get("http://" + admin.Addr().String() + "/healthz"))
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s, want 200", resp.Status)
	}
}

package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A slowClient writes pieces with a pause after each, and then waits.
type slowClient struct {
	what   string
	pieces []string
	pause  time.Duration
	want   string // as for a hostile input
	after  time.Duration
}

const slowPost = "POST " + hookPath + " HTTP/1.1\r\nHost: acme.bitrix24.com\r\nContent-Length: 100\r\n\r\n"

// A client who sends too slowly, or nothing more, gets an error or is left, and what it
// held is free again. Nothing is sent.
func TestSlowClients(t *testing.T) {
	for _, c := range []slowClient{
		{"a connection that sends nothing", nil, 0, "", headTime},
		{"a header that stops", []string{"GET /rest"}, 0, "408 REQUEST_NOT_READ", headTime},
		{"a header that comes letter by letter", strings.Split(toHost("acme.bitrix24.com"), ""), 3 * time.Second, "408 REQUEST_NOT_READ", headTime},
		{"a header without line feeds", []string{strings.ReplaceAll(toHost("acme.bitrix24.com"), "\r\n", "\r")}, 0, "408 REQUEST_NOT_READ", headTime},
		{"a header that lacks its last line feed", []string{strings.TrimSuffix(toHost("acme.bitrix24.com"), "\n")}, 0, "408 REQUEST_NOT_READ", headTime},
		{"a body that does not come", []string{slowPost}, 0, notRead, 65 * time.Second},
		{"a body that stops", []string{slowPost + "hello"}, 0, notRead, 65 * time.Second},
		{"a body in chunks that stops", []string{"POST " + hookPath + " HTTP/1.1\r\nHost: acme.bitrix24.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}, 0, notRead, 65 * time.Second},
		{"a body that comes letter by letter", append([]string{slowPost}, strings.Split(strings.Repeat("a", 99), "")...), time.Minute, notRead, bodyTime},
		{"a second request that stops", []string{"GET /evil.example" + hookPath + " HTTP/1.1\r\nHost: h\r\n\r\n", "GET /re"}, time.Second, refusedName + ", 408 REQUEST_NOT_READ", time.Second + headTime},
		{"a second request that does not come", []string{"GET /evil.example" + hookPath + " HTTP/1.1\r\nHost: h\r\n\r\n"}, 0, refusedName, 2 * time.Minute},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.send(t) })
		})
	}
}

func (c slowClient) send(t *testing.T) {
	t.Helper()
	d, clients, p := new(dials), newPipes(), newProxy(t, func(c *Config) { c.Upstream = nil })
	d.guard(p)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, Listeners{Clients: clients, Admin: newPipes()}, time.Second) }()
	conn := clients.dial()
	began := time.Now()
	var writing sync.WaitGroup
	writing.Go(func() {
		for _, piece := range c.pieces {
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
			time.Sleep(c.pause)
		}
	})
	got, raw := readAnswers(t, conn)
	if took := time.Since(began); got != c.want || d.take() != "" || took < c.after || took > c.after+2*restIdle {
		t.Errorf("got %q after %v, want %q after %v and nothing dialled\n%s", got, took, c.want, c.after, raw)
	}
	synctest.Wait()
	if memory, disk := p.held(); memory != 0 || disk != 0 || p.calls.count() != 0 || p.connections.count() != 0 {
		t.Errorf("got %d bytes in memory, %d on disk, %d calls and %d connections, want none", memory, disk, p.calls.count(), p.connections.count())
	}
	conn.Close()
	writing.Wait()
	stop()
	<-ended
}

// A client who never reads its answers does not hold a connection for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients, p := newPipes(), newProxy(t, nil)
		p.behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1048576")
			io.WriteString(w, `{"result":"`+strings.Repeat("a", 1<<20-13)+`"}`)
		}))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Serve(ctx, Listeners{Clients: clients, Admin: newPipes()}, time.Second) }()
		for _, sent := range []string{toHost("acme.bitrix24.com"), toHost("evil.example"), "BAD\r\n\r\n"} {
			conn := clients.dial()
			defer conn.Close()
			io.WriteString(conn, sent)
		}
		time.Sleep(callerIdle + time.Second)
		synctest.Wait()
		if n := p.connections.count(); n != 0 {
			t.Errorf("got %d connections open after %v, want none", n, callerIdle)
		}
		stop()
		<-ended
	})
}

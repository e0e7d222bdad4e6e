package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request that an HTTP/2 portal says it has not processed is sent on another
// connection, with the same slot, whatever the size of its body.
func TestUnprocessedIsSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(stream uint32, w io.Writer){
		"a stream is refused":                     func(stream uint32, w io.Writer) { frame(w, frameReset, 0, stream, uint32s(7)) },
		"the portal says goodbye before it":       func(stream uint32, w io.Writer) { frame(w, frameGoAway, 0, 0, uint32s(stream-1, 0)) },
		"the portal says goodbye with an error":   func(stream uint32, w io.Writer) { frame(w, frameGoAway, 0, 0, uint32s(0, 11)) },
		"the portal says goodbye, and hangs up":   goodbyeAndClose(0),
		"it hangs up after goodbye with an error": goodbyeAndClose(2),
	} {
		for _, size := range []int{0, 10, 300 << 10} {
			for _, earlier := range []int{0, 1} {
				t.Run(fmt.Sprintf("%s, %d bytes, %d calls before", name, size, earlier), func(t *testing.T) {
					var ran, seen atomic.Int64
					portal := newRawHTTP2(t, func(conn int, stream uint32, w io.Writer) {
						if seen.Add(1) == int64(earlier+1) {
							refuse(stream, w)
							return
						}
						ran.Add(1)
						success(w, stream)
					})
					p := portal.before(t)
					for range earlier {
						p.call("POST", deal, "{}")
					}
					w := p.call("POST", deal, strings.Repeat("x", size))
					if w.Code != 200 || ran.Load() != int64(earlier+1) {
						t.Errorf("got %d %s after it ran %d times, want 200 after %d", w.Code, w.Body, ran.Load(), earlier+1)
					}
					if s, _ := p.limiter.State("example.com"); s.Level > float64(earlier)+1.01 {
						t.Errorf("got the level %v, want one slot for the call", s.Level)
					}
				})
			}
		}
	}
}

func goodbyeAndClose(code uint32) func(stream uint32, w io.Writer) {
	return func(stream uint32, w io.Writer) {
		frame(w, frameGoAway, 0, 0, uint32s(stream-1, code))
		w.(net.Conn).Close()
	}
}

// A call whose stream was reset for another reason may have run.
func TestResetStreamIsNotSentAgain(t *testing.T) {
	for _, code := range []uint32{1, 2, 8, 11} {
		for _, size := range []int{0, 10} {
			var seen atomic.Int64
			portal := newRawHTTP2(t, func(conn int, stream uint32, w io.Writer) {
				seen.Add(1)
				frame(w, frameReset, 0, stream, uint32s(code))
			})
			w := portal.before(t).call("POST", deal, strings.Repeat("x", size))
			if e := errorOf(t, w); seen.Load() != 1 || w.Code != 500 || e.Proxy.Reason != "reset" || e.Proxy.Executed != "unknown" {
				t.Errorf("code %d, %d bytes: got %d %s after %d requests, want 500 with the reason reset after one", code, size, w.Code, w.Body, seen.Load())
			}
		}
	}
}

// A portal that refuses every stream is not asked forever, and the caller reads none of
// net/http's texts.
func TestPortalThatRefusesEveryStream(t *testing.T) {
	var seen atomic.Int64
	portal := newRawHTTP2(t, func(conn int, stream uint32, w io.Writer) {
		seen.Add(1)
		frame(w, frameReset, 0, stream, uint32s(7))
	})
	w := portal.before(t).call("POST", deal, "x")
	e := errorOf(t, w)
	if w.Code != 503 || e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" || seen.Load() > maxSendings {
		t.Errorf("got %d %s after %d requests, want PORTAL_UNREACHABLE after at most %d", w.Code, w.Body, seen.Load(), maxSendings)
	}
	if text := w.Body.String(); strings.Contains(text, "http2") || strings.Contains(text, "context") {
		t.Errorf("got %s, want nothing of net/http in it", text)
	}
}

// A write is lost if its kept connection breaks after it was written. By itself net/http
// would repeat a GET, and any request with an Idempotency-Key.
func TestNetHTTPRepeatsNothing(t *testing.T) {
	for _, c := range []struct{ method, target, body string }{
		{"GET", hook + "/crm.deal.add?fields[TITLE]=x", ""},
		{"HEAD", hook + "/crm.deal.add?fields[TITLE]=x", ""},
		{"OPTIONS", hook + "/crm.deal.add?fields[TITLE]=x", ""},
		{"TRACE", hook + "/crm.deal.add?fields[TITLE]=x", ""},
		{"GET", deal, "x"},
		{"POST", deal, ""},
		{"POST", deal, "x"},
		{"PUT", deal, ""},
	} {
		for _, header := range []string{"Idempotency-Key", "X-Idempotency-Key", "X-Other"} {
			t.Run(c.method+" "+c.body+" with "+header, func(t *testing.T) {
				var seen atomic.Int64
				portal := newRawPortal(t, func(c net.Conn) {
					from := bufio.NewReader(c)
					if _, ok := readRequest(from); !ok {
						return
					}
					if seen.Add(1); seen.Load() == 1 {
						io.WriteString(c, rawSuccess)
						if _, ok := readRequest(from); ok {
							seen.Add(1)
						}
					}
				})
				p := portal.before(t)
				p.call("POST", deal, "first")
				w := p.call(c.method, c.target, c.body, header, "key")
				if seen.Load() != 2 || w.Code != 500 {
					t.Errorf("got %d %s after %d requests, want 500 after 2", w.Code, w.Body, seen.Load())
				}
			})
		}
	}
}

// No call is lost to a kept connection that the portal has closed.
func TestClosedIdleConnection(t *testing.T) {
	// An end that came before a round trip elsewhere is known after it.
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	for _, size := range []int{0, 1, 300 << 10} {
		closed := make(chan bool, 3)
		portal := newRawPortal(t, func(c net.Conn) {
			if _, ok := readRequest(bufio.NewReader(c)); ok {
				io.WriteString(c, rawSuccess)
			}
			c.Close()
			closed <- true
		})
		p := portal.before(t)
		for i := range 3 {
			if w := p.call("POST", deal, strings.Repeat("x", size)); w.Code != 200 {
				t.Fatalf("call %d: got %d %s, want 200", i, w.Code, w.Body)
			}
			<-closed
			must(http.Get(elsewhere.URL)).Body.Close()
		}
	}
}

// A request that came without a body is sent without one.
func TestNoBodyLeavesAsNone(t *testing.T) {
	requests := make(chan string, 1)
	portal := newRawPortal(t, func(c net.Conn) {
		for from := bufio.NewReader(c); ; io.WriteString(c, rawSuccess) {
			raw, ok := readRequest(from)
			if !ok {
				return
			}
			requests <- strings.ToLower(raw)
		}
	})
	p := portal.before(t)
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CUSTOM", "POST", "PUT", "PATCH"} {
		for _, key := range []string{"", "k"} {
			p.call(method, "/rest/api/tasks.task.add", "", "Idempotency-Key", key)
			raw := <-requests
			wantsLength := method == "POST" || method == "PUT" || method == "PATCH"
			if strings.Contains(raw, "transfer-encoding") || strings.Contains(raw, "content-length: 0\r\n") != wantsLength {
				t.Errorf("got %s, want no Transfer-Encoding, and Content-Length: 0 is %v", raw, wantsLength)
			}
		}
	}
}

// Whether a write may be sent again is decided by the request that is sent.
func TestOnlyWhatLeavesDecides(t *testing.T) {
	const write = "/rest/api/tasks.task.add"
	for name, c := range map[string]struct {
		method, target string
		headers        []string
		sent           int64
	}{
		"one key":                                      {"POST", write, []string{"Idempotency-Key", "k"}, 2},
		"the key of 255 characters":                    {"POST", write, []string{"Idempotency-Key", strings.Repeat("k", 255)}, 2},
		"a key that Connection takes off":              {"POST", write, []string{"Idempotency-Key", "k", "Connection", "Idempotency-Key"}, 1},
		"a key that Connection takes off among others": {"POST", write, []string{"Idempotency-Key", "k", "Connection", "close, idempotency-key"}, 1},
		"two keys":                                     {"POST", write, []string{"Idempotency-Key", "k", "Idempotency-Key", "l"}, 1},
		"twice the same key":                           {"POST", write, []string{"Idempotency-Key", "k", "Idempotency-Key", "k"}, 1},
		"a key by underscores":                         {"POST", write, []string{"Idempotency_Key", "k"}, 1},
		"an empty key":                                 {"POST", write, []string{"Idempotency-Key", ""}, 1},
		"a key of 256 characters":                      {"POST", write, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 1},
		"a key beyond ASCII":                           {"POST", write, []string{"Idempotency-Key", "ключ"}, 1},
		"another header":                               {"POST", write, []string{"X-Idempotency-Key", "k"}, 1},
		"a key in a trailer's name":                    {"POST", write, []string{"Trailer", "Idempotency-Key"}, 1},
		"a key in version 2":                           {"POST", "/rest/1/code/crm.deal.add", []string{"Idempotency-Key", "k"}, 1},
		"a key with a GET":                             {"GET", write, []string{"Idempotency-Key", "k"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int64
			portal := newRawPortal(t, func(c net.Conn) {
				if _, ok := readRequest(bufio.NewReader(c)); ok {
					seen.Add(1)
				}
			})
			front := must(net.Listen("tcp", "127.0.0.1:0"))
			defer front.Close()
			p := portal.before(t)
			server := p.server(t.Context(), p)
			go server.Serve(front)
			defer server.Close()
			client := must(net.Dial("tcp", front.Addr().String()))
			defer client.Close()
			fmt.Fprintf(client, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n", c.method, c.target)
			for i := 0; i < len(c.headers); i += 2 {
				fmt.Fprintf(client, "%s: %s\r\n", c.headers[i], c.headers[i+1])
			}
			io.WriteString(client, "\r\n{}")
			bufio.NewReader(client).ReadString('\n')
			if got := seen.Load(); got != c.sent {
				t.Errorf("got %d requests, want %d", got, c.sent)
			}
		})
	}
}

// The record with which TLS closes a connection is not part of a request. Over plain HTTP
// each byte is, and over HTTP/2 the connection shows nothing.
func TestSent(t *testing.T) {
	for name, c := range map[string]*struct {
		s       connTrace
		written int64
		want    bool
	}{
		"nothing":                             {connTrace{}, 0, false},
		"a byte":                              {connTrace{}, 1, true},
		"the closing record of TLS":           {connTrace{tls: true}, 31, false},
		"more than the closing record of TLS": {connTrace{tls: true}, 32, true},
		"nothing that is seen, HTTP/2":        {connTrace{tls: true, http2: true}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.conn, c.s.written = new(countingConn), 100
			c.s.conn.written.Store(100 + c.written)
			if c.s.sent() {
				t.Errorf("got sent before the request began, want not")
			}
			c.s.began.Store(true)
			if c.s.sent() != c.want {
				t.Errorf("got sent %v, want %v", !c.want, c.want)
			}
		})
	}
}

// What earlier requests wrote to a kept connection is not a part of the next request. A
// connection that is not one of ours shows nothing, so a request that began counts as
// sent.
func TestSentOnAKeptConnection(t *testing.T) {
	clock := newSilenceTimer(time.Minute, func(error) {})
	defer clock.end()
	s := connTrace{caller: t.Context(), clock: clock}
	kept := new(countingConn)
	kept.written.Store(100)
	s.gotConn(httptrace.GotConnInfo{Conn: kept, Reused: true})
	s.began.Store(true)
	if s.sent() {
		t.Error("got sent before a byte of the request was written, want not")
	}
	kept.written.Add(1)
	if !s.sent() {
		t.Error("got not sent after a byte of the request was written, want sent")
	}

	s = connTrace{caller: t.Context(), clock: clock}
	s.gotConn(httptrace.GotConnInfo{Conn: new(net.TCPConn)})
	s.began.Store(true)
	if !s.sent() {
		t.Error("another connection: got not sent, want sent")
	}
}

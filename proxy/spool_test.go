package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// echo is a portal that answers with the size of what it gets.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, `{"result":%d}`, n)
})

// held returns what the proxy's spool holds.
func (p *Proxy) held() (memory, disk int64) {
	return p.receiver.spool.memory.used.Load(), p.receiver.spool.disk.used.Load()
}

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(what)
		}
	}
}

// A body takes memory as it arrives, whatever its Content-Length promises.
func TestPromisedBodiesTakeNoMemory(t *testing.T) {
	const connections = 200
	p := newProxy(t, nil).behind(echo)
	server := httptest.NewServer(p)
	defer server.Close()
	for range connections {
		c := must(net.Dial("tcp", server.Listener.Addr().String()))
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 262144\r\n\r\n", deal)
	}
	eventually(t, "the requests do not arrive", func() bool {
		p.calls.mu.Lock()
		defer p.calls.mu.Unlock()
		return p.calls.open == connections
	})
	if memory, disk := p.held(); memory > connections*2<<10 || disk != 0 {
		t.Errorf("got %d bytes in memory and %d on disk, want at most %d and none", memory, disk, connections*2<<10)
	}
}

// What a call holds is counted while it holds it, and given back once, however the call
// ends.
func TestWhatIsHeldIsGivenBack(t *testing.T) {
	small, large := strings.Repeat("x", 100<<10), strings.Repeat("x", 700<<10)
	nothingHeld := func(t *testing.T, p *Proxy) {
		t.Helper()
		eventually(t, "something is not given back", func() bool { memory, disk := p.held(); return memory == 0 && disk == 0 })
	}
	t.Run("after an answer", func(t *testing.T) {
		var memory, disk int64
		var p *Proxy
		p = newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			memory, disk = p.held()
			echo(w, r)
		}))
		for _, c := range []struct {
			body                                         string
			leastMemory, mostMemory, leastDisk, mostDisk int64
		}{{"", 0, 2 << 10, 0, 0}, {small, 100 << 10, 140 << 10, 0, 0}, {large, 256 << 10, 260 << 10, 700 << 10, 700 << 10}} {
			w := p.call("POST", deal, c.body)
			if want := fmt.Sprintf(`{"result":%d}`, len(c.body)); w.Body.String() != want {
				t.Errorf("got %s, want %s", w.Body, want)
			}
			if memory < c.leastMemory || memory > c.mostMemory || disk < c.leastDisk || disk > c.mostDisk {
				t.Errorf("a body of %d bytes: got %d in memory and %d on disk, want %d to %d and %d to %d", len(c.body), memory, disk, c.leastMemory, c.mostMemory, c.leastDisk, c.mostDisk)
			}
			nothingHeld(t, p)
		}
	})
	t.Run("after a call was sent again, and after it was lost", func(t *testing.T) {
		n := 0
		p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n%2 == 1 {
				panic(http.ErrAbortHandler)
			}
			echo(w, r)
		}))
		if w := p.call("POST", hook+"/crm.deal.list", large); w.Code != 200 || n != 2 {
			t.Errorf("got %d after %d attempts, want 200 after 2", w.Code, n)
		}
		nothingHeld(t, p)
		p.call("POST", deal, large)
		nothingHeld(t, p)
	})
	t.Run("after it was refused, too large or cut off", func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.QueueWait = 0 }).behind(echo)
		for range 60 {
			p.call("POST", deal, small)
		}
		p.call("POST", deal, strings.Repeat("x", 1<<20+1))
		r := httptest.NewRequest(http.MethodPost, deal, io.MultiReader(strings.NewReader(large), brokenReader{}))
		p.ServeHTTP(httptest.NewRecorder(), r)
		nothingHeld(t, p)
	})
	t.Run("when its attempt has ended, though the caller left before", func(t *testing.T) {
		arrived, answer := make(chan bool), make(chan bool)
		p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { arrived <- true; <-answer }))
		ctx, leave := context.WithCancel(t.Context())
		var call sync.WaitGroup
		call.Go(func() { p.callContext(ctx, "POST", deal, large) })
		<-arrived
		leave()
		call.Wait()
		if _, disk := p.held(); disk != int64(len(large)) {
			t.Errorf("got %d bytes on disk while the attempt may read them, want %d", disk, len(large))
		}
		close(answer)
		nothingHeld(t, p)
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// What does not fit into memory is written to disk, and what does not fit there is
// refused and can be repeated.
func TestRoomForRequests(t *testing.T) {
	var p *Proxy
	var disk int64
	portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, disk = p.held(); echo(w, r) })
	refused := func(t *testing.T, w *httptest.ResponseRecorder) {
		t.Helper()
		if e := errorOf(t, w); w.Code != 503 || e.Error != "REQUEST_NOT_KEPT" || e.Proxy.Reason != "request_not_kept" || e.Proxy.Executed != "no" ||
			!e.Proxy.Retryable || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %+v %v, want 503 REQUEST_NOT_KEPT, retryable, with Retry-After", w.Code, e, w.Header())
		}
		if memory, disk := p.held(); memory != 0 || disk != 0 {
			t.Errorf("got %d bytes in memory and %d on disk after the call, want none", memory, disk)
		}
	}
	t.Run("a small body goes to the disk when the memory is used up", func(t *testing.T) {
		p = newProxy(t, nil).behind(portal)
		p.receiver.spool.memory.size = 64 << 10
		if w := p.call("POST", deal, strings.Repeat("x", 100<<10)); w.Body.String() != `{"result":102400}` || disk != 100<<10 {
			t.Errorf("got %s and %d bytes on disk, want all 102400 there", w.Body, disk)
		}
	})
	t.Run("its beginning stays in memory, since it names the caller", func(t *testing.T) {
		var log strings.Builder
		p = newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(portal)
		p.receiver.spool.memory.size = 8 << 10
		p.call("POST", "/rest/crm.deal.add", `{"auth":"S3cret","x":"`+strings.Repeat("x", 100<<10)+`"}`)
		if !strings.Contains(log.String(), `client="oauth `) {
			t.Errorf("got the log %s, want the token's client", log.String())
		}
	})
	t.Run("a body above the limit of the disk is refused", func(t *testing.T) {
		p = newProxy(t, func(c *Config) { c.SpoolLimit = 300 << 10 }).behind(portal)
		refused(t, p.call("POST", deal, strings.Repeat("x", 400<<10)))
		if w := p.call("POST", deal, strings.Repeat("x", 290<<10)); w.Code != 200 {
			t.Errorf("got %d %s, want 200", w.Code, w.Body)
		}
	})
	t.Run("without any disk, what fits into memory passes", func(t *testing.T) {
		p = newProxy(t, func(c *Config) { c.SpoolLimit = 0 }).behind(portal)
		if w := p.call("POST", deal, strings.Repeat("x", 200<<10)); w.Code != 200 {
			t.Errorf("got %d %s, want 200", w.Code, w.Body)
		}
		refused(t, p.call("POST", deal, strings.Repeat("x", 300<<10)))
	})
	t.Run("headers count, and those that do not fit are refused", func(t *testing.T) {
		p = newProxy(t, nil).behind(portal)
		p.receiver.spool.memory.size = 1 << 20
		refused(t, p.call("POST", deal, "", "X-Long", strings.Repeat("x", 600<<10)))
		if w := p.call("POST", deal, "", "X-Long", strings.Repeat("x", 400<<10)); w.Code != 200 {
			t.Errorf("got %d %s, want 200", w.Code, w.Body)
		}
	})
	t.Run("a full disk is no fault of the client", func(t *testing.T) {
		var log strings.Builder
		p = newProxy(t, func(c *Config) { c.Log = debugLog(&log) }).behind(portal)
		p.receiver.spool.create = func() (*os.File, string, error) {
			full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
			return full, "", err
		}
		refused(t, p.call("POST", deal, strings.Repeat("x", 300<<10)))
		if !strings.Contains(log.String(), "The call was not sent: the proxy cannot keep the request: no space left on device") {
			t.Errorf("got the log %s, want the cause in it", log.String())
		}
	})
	t.Run("nor is a disk that fills up while the body arrives", func(t *testing.T) {
		p = newProxy(t, nil).behind(portal)
		p.receiver.spool.create = func() (*os.File, string, error) {
			read, write, err := os.Pipe()
			go func() { io.CopyN(io.Discard, read, 300<<10); read.Close() }()
			return write, "", err
		}
		refused(t, p.call("POST", deal, strings.Repeat("x", 900<<10)))
	})
}

// A body may have as many bytes as are allowed and not one more, whether or not its
// length is promised.
func TestLargestBody(t *testing.T) {
	const largest = 300 << 10
	p := newProxy(t, func(c *Config) { c.MaxBody = largest }).behind(echo)
	for _, promised := range []bool{true, false} {
		for size, want := range map[int]int{largest: 200, largest + 1: 413} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if !promised {
				body = io.MultiReader(body)
			}
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, deal, body))
			if w.Code != want || want == 200 && w.Body.String() != fmt.Sprintf(`{"result":%d}`, size) {
				t.Errorf("%d bytes, promised %v: got %d %s, want %d", size, promised, w.Code, w.Body, want)
			}
		}
	}
}

// A client has as long for each part of a body as a portal has. Afterwards the connection has no
// deadline, since net/http would think of a late one that the caller had left.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, deal, io.MultiReader(&slowly{pieces: 2, pause: 10 * time.Second}))
		newProxy(t, nil).behind(good).ServeHTTP(w, r)
		var got []time.Duration
		for _, at := range w.reads[:len(w.reads)-1] {
			got = append(got, at.Sub(began))
		}
		if want := []time.Duration{65 * time.Second, 75 * time.Second, 85 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("got deadlines after %v, want %v", got, want)
		}
		if last := w.reads[len(w.reads)-1]; !last.IsZero() {
			t.Errorf("got the deadline %v afterwards, want none", last)
		}
	})
}

// The first 4 KiB of a body may use the room of the headers.
func TestBeginningUsesTheSpare(t *testing.T) {
	s := newSpool(0, time.Minute)
	s.memory.take(memoryTotal-memoryTotal/8, 0)
	b := &body{spool: s}
	for b.grow() {
	}
	if cap(b.head) != beginning {
		t.Errorf("got %d bytes, want %d", cap(b.head), beginning)
	}
}

// A room can be used up to its size, except for what is spared.
func TestRoom(t *testing.T) {
	r := room{size: 10}
	for _, c := range []struct {
		n, spare int64
		taken    bool
	}{{7, 4, false}, {6, 4, true}, {1, 4, false}, {4, 0, true}, {1, 0, false}} {
		if r.take(c.n, c.spare) != c.taken {
			t.Errorf("%d beside %d spared: got taken %v, want %v", c.n, c.spare, !c.taken, c.taken)
		}
	}
	if r.give(10); r.used.Load() != 0 {
		t.Errorf("got %d bytes used after all were given back, want none", r.used.Load())
	}
}

// A long address takes memory as headers do.
func TestHeaderBytesCountTheAddress(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/"+strings.Repeat("x", 999), nil)
	if n := headerBytes(r); n != 2000 {
		t.Errorf("got %d bytes, want 2000", n)
	}
}

// The file of a body has no name once it is open, so that it disappears with the process.
// Where an open file cannot be removed, it is removed with the body.
func TestSpoolFilesHaveNoName(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	names := func() (names []string) {
		for _, entry := range must(os.ReadDir(dir)) {
			names = append(names, entry.Name())
		}
		return names
	}
	file, path, err := createUnlinked()
	if err != nil || path != "" || names() != nil {
		t.Errorf("got the path %q, the files %q and the error %v, want none", path, names(), err)
	}
	file.Close()
	var seen []string
	p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = names(); echo(w, r) }))
	if w := p.call("POST", deal, strings.Repeat("x", 300<<10)); w.Body.String() != `{"result":307200}` || seen != nil {
		t.Errorf("got %s and the files %q, want all 307200 bytes and no file with a name", w.Body, seen)
	}
	p.receiver.spool.create = func() (*os.File, string, error) {
		file, err = os.CreateTemp(os.TempDir(), "named-")
		return file, file.Name(), err
	}
	p.call("POST", deal, strings.Repeat("x", 300<<10))
	if len(seen) != 1 || names() != nil {
		t.Errorf("got the files %q during the call and %q after it, want one and none", seen, names())
	}
	if err := file.Close(); err == nil {
		t.Error("got an open file after the call, want it closed")
	}
}

// When the queue is full, a call of a client that cannot take another's place is refused
// before its body is read. The body is read if only it names the client.
func TestFullQueueReadsNoBodyInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { c.QueueDepth, c.Plan = 2, limiter.Plan{Rate: 1, Burst: 1} }).behind(echo)
		for range 3 {
			go p.call("POST", deal, "", "B24-Client", "greedy")
		}
		synctest.Wait()
		isRead := func(client string) bool {
			body := &readOrNot{Reader: strings.NewReader(`{"auth":"S3cret"}`)}
			r := httptest.NewRequest(http.MethodPost, "/rest/crm.deal.add", body)
			r.Header.Set("B24-Client", client)
			p.ServeHTTP(httptest.NewRecorder(), r)
			return body.read
		}
		if isRead("greedy") {
			t.Error("got the body of a call that has no place read, want it left")
		}
		if !isRead("") {
			t.Error("got the body that names the client left, want it read")
		}
		time.Sleep(time.Minute)
	})
}

type readOrNot struct {
	io.Reader
	read bool
}

func (b *readOrNot) Read(p []byte) (int, error) {
	b.read = true
	return b.Reader.Read(p)
}

// A call that is refused without its body is answered before the body comes, and the
// connection of a client that never sends it is closed.
func TestRefusedBeforeTheBody(t *testing.T) {
	p := newProxy(t, func(c *Config) { c.QueueDepth, c.Plan = 0, limiter.Plan{Rate: 0.001, Burst: 1} }).behind(echo)
	server := httptest.NewServer(p)
	defer server.Close()
	must(p.limiter.Acquire(t.Context(), limiter.Request{Upstream: "acme.bitrix24.com"})).Answered(limiter.Accepted)
	for what, c := range map[string]struct{ head, code string }{
		"a full queue":                       {"POST " + deal + " HTTP/1.1\r\nContent-Length: 1000\r\n", "QUERY_LIMIT_EXCEEDED"},
		"a full queue, instead of 100":       {"POST " + deal + " HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n", "QUERY_LIMIT_EXCEEDED"},
		"a full queue, before a first chunk": {"POST " + deal + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "QUERY_LIMIT_EXCEEDED"},
		"a portal that is not allowed":       {"POST " + deal + " HTTP/1.1\r\nB24-Portal: evil.example\r\nContent-Length: 1000\r\n", "PORTAL_NOT_ALLOWED"},
		"a body that is too large":           {"POST /x HTTP/1.1\r\nContent-Length: 9000000\r\n", "REQUEST_TOO_LARGE"},
	} {
		t.Run(what, func(t *testing.T) {
			c2 := must(net.Dial("tcp", server.Listener.Addr().String()))
			defer c2.Close()
			c2.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(c2, c.head+"Host: 127.0.0.1\r\n\r\n")
			from := bufio.NewReader(c2)
			resp := must(http.ReadResponse(from, nil))
			content := must(io.ReadAll(resp.Body))
			if !strings.Contains(string(content), c.code) {
				t.Errorf("got %d %s, want %s", resp.StatusCode, content, c.code)
			}
			if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
				t.Errorf("got %q and the error %v, want the connection closed", rest, err)
			}
		})
	}
}

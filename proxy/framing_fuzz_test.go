package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
)

// lastRequest follows the bytes of the fuzzer, so that the server closes the connection.
const lastRequest = "GET /rest/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// Of whatever a client writes on a connection, the portal gets the requests that a
// strict reader finds, with their bodies and in their order, and no others. Some may be
// refused.
func FuzzFraming(f *testing.F) {
	for _, input := range hostileFraming() {
		if len(input.sent) < 2000 {
			f.Add([]byte(input.sent))
		}
	}
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\nPOST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n"))
	portal, clients := &recordingPortal{}, newPipes()
	p := newProxy(f, func(c *Config) {
		c.Log, c.Plan = slog.New(slog.DiscardHandler), limiter.Plan{}
	}).behind(portal)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, Listeners{Clients: clients, Admin: newPipes()}, time.Second) }()
	f.Cleanup(func() { stop(); <-ended })
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 10_000 || bytes.Count(sent, []byte("HTTP/1.")) > 3 {
			return
		}
		want, isWhole := strictly(string(sent) + lastRequest)
		conn, there := net.Pipe()
		clients.conns <- wholeCloser{there}
		patience := 5 * time.Millisecond
		if isWhole {
			patience = time.Second
		}
		conn.SetDeadline(time.Now().Add(patience))
		go io.WriteString(conn, string(sent)+lastRequest)
		if _, err := io.Copy(io.Discard, conn); err != nil && isWhole {
			t.Logf("%q: %v", sent, err)
		}
		conn.Close()
		for p.connections.count() > 0 || p.calls.count() > 0 {
			time.Sleep(10 * time.Microsecond)
		}
		portal.mu.Lock()
		got := portal.got
		portal.got = nil
		portal.mu.Unlock()
		rest := want
		for _, request := range got {
			i := slices.Index(rest, request)
			if i < 0 {
				t.Fatalf("the portal got %q, want some of %q in that order", got, want)
			}
			rest = rest[i+1:]
		}
	})
}

// A wholeCloser lets its client read the end of the answers without a delay, as with
// TCP: a pipe has no halves that could be closed.
type wholeCloser struct{ net.Conn }

func (c wholeCloser) CloseWrite() error { return c.Close() }

// strictly reads requests as RFC 9112 says, up to the first that is not clear, and after
// which the connection is closed. It reports whether the last of them was reached.
func strictly(s string) (requests []string, isWhole bool) {
	for {
		for s != "" && (s[0] == '\r' || s[0] == '\n') {
			s = s[1:]
		}
		head, rest, ok := cutHead(s)
		if !ok {
			return requests, false
		}
		line := strings.Split(head[0], " ")
		if len(line) != 3 {
			return requests, false
		}
		body, rest, isLast, ok := strictBody(line[2], head[1:], rest)
		if !ok {
			return requests, false
		}
		path, _, _ := strings.Cut(line[1], "?")
		if decoded, err := url.PathUnescape(path); err == nil { // the portal of the test records it so
			path = decoded
		}
		requests = append(requests, line[0]+" "+path+" "+body)
		if s = rest; isLast || s == "" {
			return requests, s == ""
		}
	}
}

// cutHead splits off the lines of a head.
func cutHead(s string) (lines []string, rest string, ok bool) {
	for {
		line, after, found := strings.Cut(s, "\n")
		if !found {
			return nil, "", false
		}
		if s, line = after, strings.TrimSuffix(line, "\r"); line == "" {
			return lines, s, len(lines) > 0
		}
		lines = append(lines, line)
	}
}

// strictBody splits off a body. It fails if the end of the body is not clear.
func strictBody(version string, header []string, s string) (body, rest string, isLast, ok bool) {
	var sizes, encodings []string
	for _, line := range header {
		name, value, found := strings.Cut(line, ":")
		if !found || strings.ContainsAny(name, " \t") {
			return "", "", false, false
		}
		switch value = strings.Trim(value, " \t"); strings.ToLower(name) {
		case "content-length":
			sizes = append(sizes, value)
		case "transfer-encoding":
			encodings = append(encodings, strings.ToLower(value))
		}
	}
	isOld := version == "HTTP/1.0"
	switch {
	case len(encodings) == 0 && len(sizes) == 0:
		return "", s, isOld, true
	case len(encodings) == 0:
		n, err := strconv.ParseUint(sizes[0], 10, 31)
		isClear := err == nil && len(slices.Compact(sizes)) == 1 && int(n) <= len(s)
		if !isClear {
			return "", "", false, false
		}
		return s[:n], s[n:], isOld, true
	case isOld || len(sizes) > 0 || !slices.Equal(encodings, []string{"chunked"}):
		return "", "", false, false
	}
	body, rest, ok = strictChunks(s)
	return body, rest, true, ok
}

// strictChunks reads a body in chunks.
func strictChunks(s string) (body, rest string, ok bool) {
	for {
		line, after, found := strings.Cut(s, "\r\n")
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimRight(size, " \t"), 16, 31)
		if !found || err != nil || int(n)+2 > len(after) {
			return "", "", false
		}
		if n == 0 {
			_, rest, ok = cutHead("trailer\r\n" + after)
			return body, rest, ok
		}
		if after[n:n+2] != "\r\n" {
			return "", "", false
		}
		body, s = body+after[:n], after[n+2:]
	}
}

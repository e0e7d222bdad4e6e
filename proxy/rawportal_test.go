package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A rawPortal answers as no web server would. A function of the test serves each of its
// connections.
type rawPortal struct {
	listener net.Listener
	address  string
	roots    *x509.CertPool
	serve    func(net.Conn)
	all      sync.WaitGroup
}

func newRawPortal(t *testing.T, serve func(net.Conn)) *rawPortal {
	t.Helper()
	return startRaw(t, must(net.Listen("tcp", "127.0.0.1:0")), serve)
}

func startRaw(t *testing.T, listener net.Listener, serve func(net.Conn)) *rawPortal {
	t.Helper()
	p := &rawPortal{listener: listener, address: listener.Addr().String(), serve: serve}
	p.all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() {
				defer c.Close()
				p.serve(c)
			})
		}
	})
	t.Cleanup(func() { listener.Close() })
	return p
}

// newRawHTTP2 is a rawPortal below TLS that speaks HTTP/2 frame by frame. The test decides
// what it answers to each request, stream by stream.
func newRawHTTP2(t *testing.T, answer func(conn int, stream uint32, w io.Writer)) *rawPortal {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(certified.Close)
	config := &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}}
	var mu sync.Mutex
	conns := 0
	p := startRaw(t, tls.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), config), func(c net.Conn) {
		mu.Lock()
		conns++
		conn := conns
		mu.Unlock()
		serveFrames(c, func(stream uint32, w io.Writer) { answer(conn, stream, w) })
	})
	p.roots = x509.NewCertPool()
	p.roots.AddCert(certified.Certificate())
	return p
}

const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	framePing     = 0x6
	frameGoAway   = 0x7
	frameWindow   = 0x8
)

// serveFrames calls answer at the end of each request.
func serveFrames(c net.Conn, answer func(stream uint32, w io.Writer)) {
	from := bufio.NewReader(c)
	io.CopyN(io.Discard, from, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	frame(c, frameSettings, 0, 0, nil)
	frame(c, frameWindow, 0, 0, uint32s(1<<30))
	for {
		var head [9]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		io.ReadFull(from, payload)
		switch {
		case kind == frameSettings && flags&1 == 0:
			frame(c, frameSettings, 1, 0, nil)
		case kind == framePing && flags&1 == 0:
			frame(c, framePing, 1, 0, payload)
		case kind == frameHeaders || kind == frameData:
			if kind == frameData && len(payload) > 0 {
				frame(c, frameWindow, 0, stream, uint32s(uint32(len(payload))))
			}
			if flags&1 != 0 {
				answer(stream, c)
			}
		}
	}
}

func frame(w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	head := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, uint32s(stream)...)
	w.Write(append(head, payload...))
}

func uint32s(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// success is an answer of status 200 (the static table's entry 8).
func success(w io.Writer, stream uint32) {
	frame(w, frameHeaders, 4, stream, []byte{0x88})
	frame(w, frameData, 1, stream, []byte(`{"result":1}`))
}

// before is a proxy in front of a rawPortal.
func (r *rawPortal) before(t *testing.T) *Proxy {
	t.Helper()
	return newProxy(t, func(c *Config) {
		c.Upstream = mustURL("http://" + r.address)
		if r.roots != nil {
			_, port, _ := net.SplitHostPort(r.address)
			c.Upstream, c.Roots = mustURL("https://example.com"), r.roots
			c.ConnectTo = HostMap[string]{{Pattern: must(ParseHostPattern("example.com")), Value: "127.0.0.1:" + port}}
		}
	})
}

// readRequest reads a request of HTTP/1 with its body, as it came.
func readRequest(from *bufio.Reader) (raw string, ok bool) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return raw, false
		}
		if raw += line; line == "\r\n" {
			break
		}
	}
	lower := strings.ToLower(raw)
	if _, after, found := strings.Cut(lower, "content-length: "); found {
		var n int64
		for _, digit := range after {
			if digit < '0' || digit > '9' {
				break
			}
			n = 10*n + int64(digit-'0')
		}
		io.CopyN(io.Discard, from, n)
	}
	if strings.Contains(lower, "transfer-encoding: chunked") {
		for line := ""; line != "0\r\n"; {
			line, _ = from.ReadString('\n')
		}
		from.ReadString('\n')
	}
	return raw, true
}

const rawSuccess = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"result\":1}"

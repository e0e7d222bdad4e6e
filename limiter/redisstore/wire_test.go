package redisstore

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A wire passes connections on to a server, unless it is cut.
type wire struct {
	url    string
	server string

	mu    sync.Mutex
	isCut bool
	ends  map[net.Conn]bool
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	w := &wire{server: server, ends: make(map[net.Conn]bool)}
	w.url = "redis://" + serve(t, w.pass)
	t.Cleanup(w.cut)
	return w
}

func (w *wire) pass(c net.Conn) {
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !w.hold(c) {
		return
	}
	go func() {
		defer c.Close()
		io.Copy(c, server)
	}()
	io.Copy(server, c)
}

func (w *wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[c] = true
	return !w.isCut
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for c := range w.ends {
		c.Close()
	}
	clear(w.ends)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

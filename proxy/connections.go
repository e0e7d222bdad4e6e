package proxy

import (
	linked "container/list"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostConnections bounds the connections of clients that are open at once. An idle
	// one takes about 20 kB.
	mostConnections = 10_000
	// spareConnections are those beyond the bound whose request is refused in an answer.
	// Still others are closed at once.
	spareConnections = 64
	// adminConnections bounds those of operators.
	adminConnections = 256
)

// A connections bounds the connections that are open at once. If there are too many,
// the one that has been idle for longest is closed, so that nobody can keep others out
// by opening connections and sending nothing. If none is idle, each has a request of
// which the whole header has been read, and the new one is in excess.
type connections struct {
	most, spare int
	log         *slog.Logger

	mu     sync.Mutex
	open   int
	idle   linked.List // of *boundConn, the one that is idle for longest first
	warned time.Time
}

// A boundConn is a connection that counts towards the bound. It is idle from the start
// until the header of a request is read, and between requests.
type boundConn struct {
	net.Conn
	of          *connections
	isExcess    bool            // its request is refused
	place       *linked.Element // among the idle ones; nil: it is busy
	isClosed    bool
	hasDeadline atomic.Bool // for writing, set by a handler
}

// limit returns a listener whose connections count towards the bound, or nil for nil.
func (cs *connections) limit(l net.Listener) net.Listener {
	if l == nil {
		return nil
	}
	return boundListener{l, cs}
}

type boundListener struct {
	net.Listener
	of *connections
}

func (l boundListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.of.admit(conn); c != nil {
			return c, nil
		}
		conn.Close()
	}
}

// admit makes room for a connection. It returns nil if there is none, not even for an
// answer.
func (cs *connections) admit(conn net.Conn) *boundConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for cs.open >= cs.most && cs.idle.Len() > 0 {
		oldest := cs.idle.Front().Value.(*boundConn)
		cs.removeLocked(oldest)
		oldest.Conn.Close()
	}
	if cs.open >= cs.most {
		cs.warnLocked()
	}
	if cs.open >= cs.most+cs.spare {
		return nil
	}
	c := &boundConn{Conn: conn, of: cs, isExcess: cs.open >= cs.most}
	c.place = cs.idle.PushBack(c)
	cs.open++
	return c
}

// warnLocked logs once a minute that the bound is reached.
func (cs *connections) warnLocked() {
	if now := time.Now(); now.Sub(cs.warned) >= time.Minute {
		cs.warned = now
		cs.log.Warn("too many connections: new ones are refused, because each of the open ones has a request under way", "open", cs.open)
	}
}

func (cs *connections) removeLocked(c *boundConn) {
	if c.isClosed {
		return
	}
	c.isClosed = true
	cs.open--
	cs.setIdleLocked(c, false)
}

func (cs *connections) setIdleLocked(c *boundConn, isIdle bool) {
	switch {
	case isIdle && c.place == nil && !c.isClosed:
		c.place = cs.idle.PushBack(c)
	case !isIdle && c.place != nil:
		cs.idle.Remove(c.place)
		c.place = nil
	}
}

// NetConn is for peerClosed.
func (c *boundConn) NetConn() net.Conn { return c.Conn }

// setIdle notes whether a connection waits for a request.
func (c *boundConn) setIdle(isIdle bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.setIdleLocked(c, isIdle)
}

func (c *boundConn) Close() error {
	c.of.mu.Lock()
	c.of.removeLocked(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Write gives up on a client who reads nothing for a long time, unless a handler has
// set a deadline of its own.
func (c *boundConn) Write(p []byte) (int, error) {
	if !c.hasDeadline.Load() {
		c.Conn.SetWriteDeadline(time.Now().Add(callerIdle))
	}
	return c.Conn.Write(p)
}

func (c *boundConn) SetWriteDeadline(t time.Time) error {
	c.hasDeadline.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

func (c *boundConn) SetDeadline(t time.Time) error {
	c.hasDeadline.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// CloseWrite lets net/http close half of the connection, as it does with TCP.
func (c *boundConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// boundOf returns the boundConn below the layers of a connection, or nil.
func boundOf(c net.Conn) *boundConn {
	for c != nil {
		if bound, ok := c.(*boundConn); ok {
			return bound
		}
		layer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = layer.NetConn()
	}
	return nil
}

// isExcess reports whether a request came on a connection beyond the bound.
func isExcess(r *http.Request) bool {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	bound := boundOf(conn)
	return bound != nil && bound.isExcess
}

// connState is the ConnState of an http.Server.
func (p *Proxy) connState(c net.Conn, state http.ConnState) {
	isIdle := state == http.StateNew || state == http.StateIdle
	if bound := boundOf(c); bound != nil && state != http.StateClosed {
		bound.setIdle(isIdle)
	}
	if conn, ok := c.(interface{ self() *headConn }); ok && isIdle {
		conn.self().awaitRequest(p.refusal)
	}
}

// count is the number of open connections.
func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open
}

package proxy

import (
	"errors"
	"sync"
)

// errStopped ends the calls that the shutdown could not wait for.
var errStopped = errors.New("the proxy was stopped")

// A gate counts the calls of clients. Once it is closed it lets no call in, so that
// the open calls come to an end, however many others come.
type gate struct {
	mu     sync.Mutex
	open   int
	closed bool
	idle   chan struct{} // made when the gate is closed; closed when no call is open
}

// enter reports whether a call is let in, which must then leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.open++
	}
	return !g.closed
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.closed && g.open == 0 {
		close(g.idle)
	}
}

// close lets no more calls in. The channel is closed when the last one has left.
func (g *gate) close() (idle <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.idle = true, make(chan struct{})
	if g.open == 0 {
		close(g.idle)
	}
	return g.idle
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// count is the number of open calls.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

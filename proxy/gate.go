package proxy

import "sync"

// A gate counts the calls under way. Once it is closed none is let in, so that
// those under way come to an end however many knock.
type gate struct {
	mu     sync.Mutex
	open   int
	closed bool
	idle   chan struct{} // made when the gate is closed; closed when open is 0
}

// enter lets a call in, which then must leave.
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

// close lets no more calls in. The channel closes when the last has left.
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

// count is the number of calls under way.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The bounds of tunnels.
const (
	maxTunnels  = 1000
	tunnelPiece = 16 << 10        // bytes that a tunnel holds of each direction
	tunnelIdle  = 2 * time.Minute // without a byte in either direction
	// quietAfterAnswer is how long a tunnel is without a byte that ends when the proxy
	// drains, if the last ones came from the host.
	quietAfterAnswer = 500 * time.Millisecond
)

// ErrTooManyTunnels is the error of Open beyond the bound.
var ErrTooManyTunnels = fmt.Errorf("%d tunnels are open, which is the maximum", maxTunnels)

// ErrTunnelsClosed is the error of Open after Close.
var ErrTunnelsClosed = errors.New("no more tunnels are opened")

// Tunnels carry bytes between clients and hosts, and do not know what these mean. They
// are safe for concurrent use.
type Tunnels struct {
	places   chan struct{} // has one element for each open tunnel
	draining context.Context
	drain    context.CancelFunc
	closed   context.Context
	close    context.CancelFunc
}

// NewTunnels makes Tunnels without any.
func NewTunnels() *Tunnels {
	t := &Tunnels{places: make(chan struct{}, maxTunnels)}
	t.draining, t.drain = context.WithCancel(context.Background())
	t.closed, t.close = context.WithCancel(context.Background())
	return t
}

// Drain makes tunnels end that seem to have done their work: the last bytes came from
// the host, and nothing follows.
func (t *Tunnels) Drain() { t.drain() }

// Close ends all tunnels.
func (t *Tunnels) Close() { t.close() }

// Open opens a tunnel to the host to which dial connects. The tunnel must be closed, or
// carry.
func (t *Tunnels) Open(dial func(context.Context) (net.Conn, error)) (*Tunnel, error) {
	select {
	case t.places <- struct{}{}:
	default:
		return nil, ErrTooManyTunnels
	}
	host, err := dial(t.closed)
	if err != nil {
		<-t.places
		if t.closed.Err() != nil {
			return nil, ErrTunnelsClosed
		}
		return nil, err
	}
	return &Tunnel{of: t, host: host}, nil
}

// A Tunnel is an open tunnel.
type Tunnel struct {
	of     *Tunnels
	client net.Conn
	host   net.Conn

	mu       sync.Mutex
	answered bool // the last bytes came from the host
	clock    *time.Timer
}

// Close closes a tunnel that does not carry.
func (t *Tunnel) Close() {
	t.host.Close()
	<-t.of.places
}

// Carry carries the bytes between a client and the host until both have sent their
// last one, nothing has come for a while, or the connection of one breaks. It closes
// both, and returns how many bytes came to the host and to the client.
func (t *Tunnel) Carry(client net.Conn) (sent, received int64) {
	defer t.Close()
	defer client.Close()
	t.client, t.clock = client, time.AfterFunc(tunnelIdle, t.cut)
	defer t.clock.Stop()
	defer context.AfterFunc(t.of.closed, t.cut)()
	defer context.AfterFunc(t.of.draining, t.restart)()
	var toHost sync.WaitGroup
	toHost.Go(func() { sent = t.carry(t.host, client, false) })
	received = t.carry(client, t.host, true)
	toHost.Wait()
	return sent, received
}

// cut ends both directions at once.
func (t *Tunnel) cut() {
	t.client.Close()
	t.host.Close()
}

// carry carries the bytes of one direction. The end of them is passed on, and the other
// direction goes on.
func (t *Tunnel) carry(to, from net.Conn, answers bool) (carried int64) {
	piece := make([]byte, tunnelPiece)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			t.moved(answers)
			if _, err := to.Write(piece[:n]); err != nil {
				return carried // what comes from there may still be worth reading
			}
			t.restart() // writing may have taken long
			carried += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			closeWrite(to)
			return carried
		case err != nil:
			t.cut()
			return carried
		}
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// moved notes that bytes came, from the host or from the client.
func (t *Tunnel) moved(answers bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = answers
	t.restartLocked()
}

// restart lets the time without a byte begin anew.
func (t *Tunnel) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restartLocked()
}

func (t *Tunnel) restartLocked() {
	wait := tunnelIdle
	if t.answered && t.of.draining.Err() != nil {
		wait = quietAfterAnswer
	}
	t.clock.Reset(wait)
}

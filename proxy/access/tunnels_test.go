package access

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A half is one end of a connection whose directions end apart, as those of TCP do.
type half struct {
	io.Reader
	to *io.PipeWriter
	in *io.PipeReader
}

func (h *half) Write(p []byte) (int, error) { return h.to.Write(p) }
func (h *half) CloseWrite() error           { return h.to.Close() }

func (h *half) Close() error {
	h.in.CloseWithError(io.ErrClosedPipe)
	return h.to.CloseWithError(io.ErrUnexpectedEOF)
}

func (h *half) LocalAddr() net.Addr              { return nil }
func (h *half) RemoteAddr() net.Addr             { return nil }
func (h *half) SetDeadline(time.Time) error      { return nil }
func (h *half) SetReadDeadline(time.Time) error  { return nil }
func (h *half) SetWriteDeadline(time.Time) error { return nil }

// pair returns both ends of a connection.
func pair() (a, b *half) {
	toA, fromB := io.Pipe()
	toB, fromA := io.Pipe()
	return &half{toA, fromA, toA}, &half{toB, fromB, toB}
}

// A carrying is a tunnel that carries between client and host, which are the far ends.
type carrying struct {
	tunnels        *Tunnels
	client, host   *half
	sent, received int64
	ended          chan struct{}
}

func carry(t *testing.T) *carrying {
	t.Helper()
	c := &carrying{tunnels: NewTunnels(), ended: make(chan struct{})}
	var nearClient, nearHost *half
	c.client, nearClient = pair()
	c.host, nearHost = pair()
	tunnel, err := c.tunnels.Open(func(context.Context) (net.Conn, error) { return nearHost, nil })
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.sent, c.received = tunnel.Carry(nearClient)
		close(c.ended)
	}()
	return c
}

// pass sends bytes from one far end to the other.
func pass(t *testing.T, from, to *half, text string) {
	t.Helper()
	go io.WriteString(from, text)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("got %q (%v), want %q", got, err, text)
	}
}

// endsAfter fails the test unless the tunnel ends after a time, with both connections.
func (c *carrying) endsAfter(t *testing.T, want time.Duration) {
	t.Helper()
	began := time.Now()
	<-c.ended
	if took := time.Since(began); took != want {
		t.Errorf("it ended after %v, want %v", took, want)
	}
	if n := len(c.tunnels.places); n != 0 {
		t.Errorf("got %d places taken, want none", n)
	}
	for name, end := range map[string]*half{"client": c.client, "host": c.host} {
		if _, err := end.Write([]byte("x")); err == nil {
			t.Errorf("the connection to the %s is open, want it closed", name)
		}
	}
}

// A tunnel carries bytes in both directions. One that has ended leaves the other as it
// is, whichever ends first.
func TestTunnelEndsWithItsLastHalf(t *testing.T) {
	for _, isClient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := carry(t)
			first, last := c.host, c.client
			if isClient {
				first, last = last, first
			}
			pass(t, first, last, "before")
			first.CloseWrite()
			if rest, err := io.ReadAll(last); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v; want the end", rest, err)
			}
			time.Sleep(time.Minute)
			pass(t, last, first, "after the other's end")
			last.CloseWrite()
			c.endsAfter(t, 0)
			if sum := c.sent + c.received; sum != int64(len("before"+"after the other's end")) {
				t.Errorf("got %d and %d bytes, want all that were sent", c.sent, c.received)
			}
		})
	}
}

// A connection that breaks ends the tunnel at once.
func TestTunnelEndsWhenAConnectionBreaks(t *testing.T) {
	for _, isClient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := carry(t)
			if isClient {
				c.client.Close()
			} else {
				c.host.Close()
			}
			c.endsAfter(t, 0)
		})
	}
}

// A tunnel lives as long as bytes come in one direction. Two minutes without any end
// it, also when one side takes none.
func TestIdleTunnelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := carry(t)
		for range 100 {
			time.Sleep(2*time.Minute - time.Second)
			pass(t, c.host, c.client, "again")
		}
		c.endsAfter(t, 2*time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		c := carry(t)
		go c.client.Write(bytes.Repeat([]byte("x"), 100_000)) // which the host does not read
		c.endsAfter(t, 2*time.Minute)
	})
}

// When the proxy drains, a tunnel goes on until the host has answered and nothing
// follows.
func TestDrainingTunnels(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(t *testing.T, c *carrying)
		end           time.Duration
	}{
		"the host has answered before": {
			before: func(t *testing.T, c *carrying) {
				t.Helper()
				pass(t, c.client, c.host, "question")
				pass(t, c.host, c.client, "answer")
			},
			end: 500 * time.Millisecond,
		},
		"the host answers later": {
			before: func(t *testing.T, c *carrying) {
				t.Helper()
				pass(t, c.client, c.host, "question")
			},
			after: func(t *testing.T, c *carrying) {
				t.Helper()
				time.Sleep(time.Minute)
				pass(t, c.host, c.client, "answer")
			},
			end: 500 * time.Millisecond,
		},
		"the answer comes in pieces": {
			before: func(t *testing.T, c *carrying) {
				t.Helper()
				pass(t, c.host, c.client, "1")
			},
			after: func(t *testing.T, c *carrying) {
				t.Helper()
				for range 100 {
					time.Sleep(499 * time.Millisecond)
					pass(t, c.host, c.client, "2")
				}
			},
			end: 500 * time.Millisecond,
		},
		"the host does not answer": {before: func(t *testing.T, c *carrying) {
			t.Helper()
			pass(t, c.client, c.host, "question")
		}, end: 2 * time.Minute},
		"nothing has been sent yet": {end: 2 * time.Minute},
		"all are closed": {
			before: func(t *testing.T, c *carrying) {
				t.Helper()
				pass(t, c.client, c.host, "question")
			},
			after: func(_ *testing.T, c *carrying) { c.tunnels.Close() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrying := carry(t)
				if c.before != nil {
					c.before(t, carrying)
				}
				synctest.Wait()
				carrying.tunnels.Drain()
				synctest.Wait()
				if c.after != nil {
					c.after(t, carrying)
				}
				synctest.Wait()
				carrying.endsAfter(t, c.end)
			})
		})
	}
}

// There are at most a thousand tunnels, and one that ends makes room. What cannot be
// dialled takes none.
func TestTunnelsAreBounded(t *testing.T) {
	tunnels := NewTunnels()
	failed := errors.New("refused")
	if _, err := tunnels.Open(func(context.Context) (net.Conn, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want the error of the dial", err)
	}
	dial := func(context.Context) (net.Conn, error) { _, near := pair(); return near, nil }
	open := make([]*Tunnel, maxTunnels)
	var all sync.WaitGroup
	for i := range open {
		all.Go(func() { open[i], _ = tunnels.Open(dial) })
	}
	all.Wait()
	if _, err := tunnels.Open(dial); !errors.Is(err, ErrTooManyTunnels) {
		t.Errorf("got %v for one more, want ErrTooManyTunnels", err)
	}
	open[0].Close()
	if _, err := tunnels.Open(dial); err != nil {
		t.Errorf("got %v after one has ended, want none", err)
	}
}

// Close ends a dial that is under way.
func TestCloseEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tunnels := NewTunnels()
		time.AfterFunc(time.Second, tunnels.Close)
		_, err := tunnels.Open(func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() })
		if !errors.Is(err, ErrTunnelsClosed) {
			t.Errorf("got %v, want ErrTunnelsClosed", err)
		}
	})
}

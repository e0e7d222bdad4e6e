package proxy

import (
	"net"
	"sync/atomic"
)

// A countingConn counts the bytes that are written to it.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

// NetConn is for peerClosed.
func (c *countingConn) NetConn() net.Conn { return c.Conn }

// underneath returns the connection that others are made of, as those of TLS are.
func underneath(conn net.Conn) net.Conn {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = outer.NetConn()
	}
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

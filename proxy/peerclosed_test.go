//go:build linux

package proxy

import (
	"net"
	"testing"
	"time"
)

// That the other side has closed a connection is known before anybody has read from
// it, even if there is something left to read.
func TestPeerClosed(t *testing.T) {
	for name, lastWords := range map[string]string{"after all was read": "", "before all was read": "HTTP/1.1 408 "} {
		t.Run(name, func(t *testing.T) {
			listener := must(net.Listen("tcp", "127.0.0.1:0"))
			defer listener.Close()
			conn := &countingConn{Conn: must(net.Dial("tcp", listener.Addr().String()))}
			defer conn.Close()
			peer := must(listener.Accept())
			peer.Write([]byte(lastWords))
			if peerClosed(conn) {
				t.Error("got closed, want open")
			}
			peer.Close()
			deadline := time.Now().Add(5 * time.Second)
			for !peerClosed(conn) {
				if time.Now().After(deadline) {
					t.Fatal("got open, want closed")
				}
			}
		})
	}
}

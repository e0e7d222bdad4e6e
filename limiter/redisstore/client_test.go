package redisstore

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// To connect may take longer than a request, as it does with TLS and a slow DNS: the
// store is there nonetheless.
func TestSlowConnection(t *testing.T) {
	m := miniredis.RunT(t)
	s, err := Open(Config{URL: "redis://" + behindDelay(t, m.Addr(), 150*time.Millisecond), Egress: "e", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	eventually(t, "the store is there", func() bool { return s.State().Up })
}

// behindDelay serves a server until the test ends, to which each connection takes long.
func behindDelay(t *testing.T, server string, delay time.Duration) (address string) {
	t.Helper()
	return serve(t, func(client net.Conn) {
		time.Sleep(delay)
		conn, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer conn.Close()
		go io.Copy(conn, client)
		io.Copy(client, conn)
	})
}

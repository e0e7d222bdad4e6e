package proxy

import (
	"io"
	"net"
	"testing"
)

// The heads are found however they are cut into pieces, and whatever the bodies have.
func TestHeadsInPieces(t *testing.T) {
	const sent = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n\n\nX: y\r\n\r" +
		"\r\n\r\nGET /b HTTP/1.1\nHost: h\n\n" +
		"GET /c HTTP/1.1\r\nX: a\r\n b\r\ncontent-length : 1\r\n\r\n" +
		"GET /d HTTP/1.1\r\n\r\n"
	want := []head{{line: "POST /a HTTP/1.1", sized: true}, {line: "GET /b HTTP/1.1"}, {line: "GET /c HTTP/1.1", sized: true, folded: true}, {}}
	for size := 1; size <= len(sent); size++ {
		ours, theirs := net.Pipe()
		go func() {
			for piece := sent; piece != ""; piece = piece[min(size, len(piece)):] {
				io.WriteString(theirs, piece[:min(size, len(piece))])
			}
			theirs.Close()
		}()
		c := &headConn{Conn: ours}
		if got := string(must(io.ReadAll(c))); got != sent {
			t.Fatalf("in pieces of %d: got %q, want all of %q", size, got, sent)
		}
		for _, w := range want {
			if got := c.heads.take(); *got != w {
				t.Errorf("in pieces of %d: got the head %+v, want %+v", size, *got, w)
			}
		}
	}
}

// A head that never ends takes no more memory than net/http would read of it.
func TestEndlessHead(t *testing.T) {
	var h heads
	for range 100 {
		h.record(make([]byte, headBytes/4))
	}
	if len(h.part) > 3*headBytes {
		t.Errorf("got %d bytes held, want at most %d", len(h.part), 3*headBytes)
	}
}

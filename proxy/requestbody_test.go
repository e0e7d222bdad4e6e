package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
)

// A small body arrives with its header, in one piece.
func TestSmallBodyIsSentWithItsHeader(t *testing.T) {
	const body = `{"start":0}`
	var first string
	portal := newRawPortal(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		n, _ := c.Read(buf)
		first = string(buf[:n])
		io.WriteString(c, rawSuccess)
	})
	w := portal.before(t).call("POST", deal, body)
	if w.Code != 200 || !strings.HasSuffix(first, "\r\n\r\n"+body) {
		t.Errorf("got %d, and the portal read %q at first, want 200 and all of the request", w.Code, first)
	}
}

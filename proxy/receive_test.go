package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A call that is refused before its body is read gets its answer although its client
// never sends the body.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients, p := newPipes(), newProxy(t, nil)
		server := p.server(t.Context(), p)
		go server.Serve(clients)
		defer server.Close()
		c := clients.dial()
		defer c.Close()
		began := time.Now()
		fmt.Fprint(c, "POST /rest/profile HTTP/1.1\r\nHost: h\r\nB24-Portal: evil.example\r\nContent-Length: 10\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusForbidden || time.Since(began) != restIdle {
			t.Errorf("got %+v (%v) after %v, want 403 after %v", resp, err, time.Since(began), restIdle)
		}
	})
}

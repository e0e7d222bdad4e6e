package proxy

import (
	"fmt"
	"net"
	"syscall"
	"testing"
)

// An error of the outbound proxy is distinguished from one of the portal, and the log has
// the innermost address.
func TestCauseAndPlace(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err          error
		cause, place string
	}{
		{refused, "connection refused", "dial 192.0.2.1:443"},
		{fmt.Errorf("wrapped: %w", refused), "connection refused", "dial 192.0.2.1:443"},
		{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: refused}, viaOutbound + "connection refused", "dial 192.0.2.1:443"},
		{&net.DNSError{Name: "acme.bitrix24.com", Server: "192.0.2.53:53", IsNotFound: true}, "name not found", "lookup of acme.bitrix24.com on 192.0.2.53:53"},
		{syscall.ECONNRESET, "connection closed", ""},
	} {
		if got := cause(c.err); got != c.cause {
			t.Errorf("%v: cause %q, want %q", c.err, got, c.cause)
		}
		if got := place(c.err); got != c.place {
			t.Errorf("%v: place %q, want %q", c.err, got, c.place)
		}
	}
}

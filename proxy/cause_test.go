package proxy

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter"
)

// An error of the outbound proxy is told from one of the portal, and the log has
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

// The log alone says where a connection failed; of a rejection there is nothing
// more to say.
func TestLoggedFailures(t *testing.T) {
	lost := networkFailure(t.Context(), &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: syscall.ECONNREFUSED}, false)
	if text := lost.logged(); !strings.HasSuffix(text, " (dial 192.0.2.1:443)") || strings.Contains(lost.description, "192.0.2.1") {
		t.Errorf("logged %q, described as %q", text, lost.description)
	}
	refused := rejection(&limiter.Rejection{Reason: limiter.QueueWait, RetryAfter: time.Second})
	if refused.logged() != refused.description {
		t.Errorf("logged %q, described as %q", refused.logged(), refused.description)
	}
}

// Retry-After is from 1 to 60 seconds, and what is spread is spread by a fifth.
func TestTimesToTryAgain(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{0: time.Second, 30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
		if got := soon(d); got != want {
			t.Errorf("soon(%v) = %v, want %v", d, got, want)
		}
	}
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(10 * time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 10*time.Second || least > 10500*time.Millisecond || most < 11500*time.Millisecond || most > 12*time.Second {
		t.Errorf("10 s are spread from %v to %v", least, most)
	}
}

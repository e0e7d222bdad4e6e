//go:build linux || darwin

package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// boundUnsent asks the kernel not to take megabytes of a request that the
// network has not carried yet: what it takes looks as if the portal had it.
func boundUnsent(c syscall.RawConn) {
	c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

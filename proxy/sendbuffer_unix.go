//go:build linux || darwin

package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// boundUnsent keeps the kernel from buffering megabytes of a request: what is in its
// buffer looks like what the portal has received.
func boundUnsent(c syscall.RawConn) {
	c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

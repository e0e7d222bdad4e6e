//go:build linux || darwin

package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent bounds what the kernel buffers of a request before it is sent.
const maxUnsent = 128 << 10

// boundUnsent keeps the kernel from buffering megabytes of a request: what is in its
// buffer looks like what the portal has received.
func boundUnsent(c syscall.RawConn) {
	c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

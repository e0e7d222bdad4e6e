package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerClosed reports whether the kernel knows already that the other side has closed
// the connection. net/http learns it from a goroutine, which on a busy machine may
// still wait for its turn when the connection is given to the next request.
func peerClosed(conn net.Conn) (closed bool) {
	from, ok := underneath(conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		state := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(state, 0)
		closed = err == nil && n > 0
	})
	return closed
}

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package limiter

import (
	"errors"
	"os"
	"syscall"
)

// noFollow has opening fail where the file was replaced by a symbolic link.
const noFollow = syscall.O_NOFOLLOW

// lockFile locks a file until it is closed, also by the end of the process. It
// fails at once if another holds it.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("it is open in another process")
	}
	return err
}

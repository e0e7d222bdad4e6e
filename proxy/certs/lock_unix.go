//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package certs

import (
	"errors"
	"os"
	"syscall"
)

// noFollow makes opening fail where the file was replaced by a symbolic link.
const noFollow = syscall.O_NOFOLLOW

// tryLock locks a file until it is closed, by the end of the process at the
// latest. It fails with errLocked if another process holds the lock.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

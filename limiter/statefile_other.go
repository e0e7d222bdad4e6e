//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package limiter

import "os"

// lockFile does nothing here: that one process alone uses the file is left to
// its owner.
func lockFile(*os.File) error { return nil }

const noFollow = 0

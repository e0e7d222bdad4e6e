//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package statefile

import "os"

// lockFile does nothing here: the operator must see to it that only one process
// uses the file.
func lockFile(*os.File) error { return nil }

const noFollow = 0

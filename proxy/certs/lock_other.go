//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package certs

import "os"

// tryLock does nothing here: the operator must see to it that only one process
// uses the folder.
func tryLock(*os.File) error { return nil }

const noFollow = 0

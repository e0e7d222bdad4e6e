//go:build !linux && !darwin

package proxy

import "syscall"

func boundUnsent(syscall.RawConn) {}

package storetest

import (
	"testing"
	"time"

	"b24proxy/limiter"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		return New(func(now func() time.Time) Harness {
			memory := limiter.NewMemory(now)
			return Harness{Replica: memory.Replica, Flush: memory.Flush}
		})
	})
}

package replaytest

import (
	"testing"
	"time"

	"b24proxy/proxy/replay"
)

// The memory does what each replay.Shared must do.
func TestContract(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		m := NewMemory()
		return Harness{Replica: func(name string) replay.Shared { return m.Replica(name) }, Kill: m.Kill, Flush: m.Flush, Pass: time.Sleep}
	})
}

package proxy

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// The floor moves the next collection away by twice its size: by itself, and by as much
// garbage.
func TestHeapFloor(t *testing.T) {
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	next := func() uint64 {
		runtime.GC()
		metrics.Read(goal)
		return goal[0].Value.Uint64()
	}
	before := next()
	SetHeapFloor()
	defer func() { floor = nil }()
	if after := next(); after < before+heapFloor*3/2 {
		t.Errorf("got the next collection at %d bytes, and at %d before; want it later by about %d", after, before, 2*heapFloor)
	}
}

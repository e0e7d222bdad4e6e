package proxy

// Calls leave much garbage, and little lives, so Go would collect it after every few
// megabytes, many times a second. The collector waits for as much garbage as lives.
// Therefore it waits longer if some megabytes live that nobody touches: these take none of
// the machine's memory, and the garbage takes as much more, whether the heap is small or
// large. A higher GOGC would multiply a large heap.
const heapFloor = 16 << 20

var floor []byte //nolint:unused // it keeps the memory alive

// SetHeapFloor lets the garbage of this process grow 16 MiB further than Go itself would
// before it is collected. It is for the start of a program.
func SetHeapFloor() { floor = make([]byte, heapFloor) }

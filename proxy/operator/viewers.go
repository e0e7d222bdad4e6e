package operator

import (
	"net/netip"
	"slices"
	"sync"
)

// viewers are the streams to open pages, the oldest first. A viewer that has not
// taken one status when the next one comes is dropped, and its page connects
// again.
type viewers struct {
	mu     sync.Mutex
	open   []viewer
	closed bool
}

type viewer struct {
	stream chan *status
	client netip.Prefix
}

const maxViewers = 32

// join begins a stream, which ends when its channel is closed. If maxViewers are
// open, the oldest stream of the client with most streams ends, so that no client
// can take all of them. join fails when the proxy stops, and when maxViewers
// clients have one stream each.
func (v *viewers) join(client netip.Prefix) (stream chan *status, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || len(v.open) >= maxViewers && !v.makeRoomLocked(client) {
		return nil, false
	}
	stream = make(chan *status, 1)
	v.open = append(v.open, viewer{stream, client})
	return stream, true
}

func (v *viewers) makeRoomLocked(client netip.Prefix) bool {
	streams := make(map[netip.Prefix]int)
	for _, o := range v.open {
		streams[o.client]++
	}
	most := client
	for _, o := range v.open {
		if streams[o.client] > streams[most] {
			most = o.client
		}
	}
	if streams[most] == 1 && most != client {
		return false
	}
	v.dropLocked(slices.IndexFunc(v.open, func(o viewer) bool { return o.client == most }))
	return true
}

func (v *viewers) dropLocked(i int) {
	close(v.open[i].stream)
	v.open = slices.Delete(v.open, i, i+1)
}

func (v *viewers) leave(stream chan *status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = slices.DeleteFunc(v.open, func(o viewer) bool { return o.stream == stream })
}

func (v *viewers) any() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.open) > 0
}

func (v *viewers) publish(s *status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = slices.DeleteFunc(v.open, func(o viewer) bool {
		select {
		case o.stream <- s:
			return false
		default:
			close(o.stream)
			return true
		}
	})
}

func (v *viewers) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for len(v.open) > 0 {
		v.dropLocked(len(v.open) - 1)
	}
}

package operator

import (
	"net/netip"
	"slices"
	"sync"
)

// viewers are the streams to open pages, the oldest first. A viewer that has
// not taken one status when the next comes is dropped; its page connects again.
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

// join begins a stream, which ends when the channel is closed. Where no more may
// watch, the oldest stream of the client that has most makes room, so that none
// can take all of them; behind one address the newest stream wins. It fails when
// the proxy stops, and where a stream each of maxViewers clients is open.
func (w *viewers) join(client netip.Prefix) (stream chan *status, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.open) >= maxViewers && !w.makeRoomLocked(client) {
		return nil, false
	}
	stream = make(chan *status, 1)
	w.open = append(w.open, viewer{stream, client})
	return stream, true
}

func (w *viewers) makeRoomLocked(client netip.Prefix) bool {
	streams := make(map[netip.Prefix]int)
	for _, o := range w.open {
		streams[o.client]++
	}
	most := client
	for _, o := range w.open {
		if streams[o.client] > streams[most] {
			most = o.client
		}
	}
	if streams[most] == 1 && most != client {
		return false
	}
	w.dropLocked(slices.IndexFunc(w.open, func(o viewer) bool { return o.client == most }))
	return true
}

func (w *viewers) dropLocked(i int) {
	close(w.open[i].stream)
	w.open = slices.Delete(w.open, i, i+1)
}

func (w *viewers) leave(stream chan *status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(o viewer) bool { return o.stream == stream })
}

func (w *viewers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open) > 0
}

func (w *viewers) publish(s *status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(o viewer) bool {
		select {
		case o.stream <- s:
			return false
		default:
			close(o.stream)
			return true
		}
	})
}

func (w *viewers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for len(w.open) > 0 {
		w.dropLocked(len(w.open) - 1)
	}
}

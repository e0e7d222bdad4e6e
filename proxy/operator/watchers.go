package operator

import (
	"net/netip"
	"slices"
	"sync"
)

// watchers are the streams to open pages, the oldest first. A watcher that has
// not taken one status when the next comes is dropped; its page connects again.
type watchers struct {
	mu     sync.Mutex
	open   []watcher
	closed bool
}

type watcher struct {
	stream chan []byte
	client netip.Prefix
}

const maxWatchers = 32

// join begins a stream, which ends when the channel is closed. Where no more may
// watch, the oldest stream of the client that has most makes room, so that none
// can take all of them; behind one address the newest stream wins. It fails when
// the proxy stops, and where a stream each of maxWatchers clients is open.
func (w *watchers) join(client netip.Prefix) (stream chan []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.open) >= maxWatchers && !w.makeRoomLocked(client) {
		return nil, false
	}
	stream = make(chan []byte, 1)
	w.open = append(w.open, watcher{stream, client})
	return stream, true
}

func (w *watchers) makeRoomLocked(client netip.Prefix) bool {
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
	w.dropLocked(slices.IndexFunc(w.open, func(o watcher) bool { return o.client == most }))
	return true
}

func (w *watchers) dropLocked(i int) {
	close(w.open[i].stream)
	w.open = slices.Delete(w.open, i, i+1)
}

func (w *watchers) leave(stream chan []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(o watcher) bool { return o.stream == stream })
}

func (w *watchers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open) > 0
}

func (w *watchers) publish(status []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(o watcher) bool {
		select {
		case o.stream <- status:
			return false
		default:
			close(o.stream)
			return true
		}
	})
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for len(w.open) > 0 {
		w.dropLocked(len(w.open) - 1)
	}
}

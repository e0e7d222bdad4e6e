package access

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// What is done about requests without a valid key.
const (
	reportEvery   = time.Minute // for each address
	keptAddresses = 1000
	slowedBy      = time.Second
	maxSlowed     = 100 // at once
)

// Failures are the requests without a valid key. They are safe for concurrent use.
type Failures struct {
	slowed chan struct{} // has one element for each request that is being slowed

	mu sync.Mutex
	by *simplelru.LRU[netip.Prefix, *reported] // the one whose report is oldest goes first
}

// reported is what is known of the requests from an address.
type reported struct {
	at    time.Time
	since int // requests since the report
}

// NewFailures makes Failures without any.
func NewFailures() *Failures {
	by, _ := simplelru.NewLRU[netip.Prefix, *reported](keptAddresses, nil) // fails only below a size of 1
	return &Failures{slowed: make(chan struct{}, maxSlowed), by: by}
}

// Count counts a request from an address. Once a minute for an address it returns how
// many came since it did so before, and otherwise 0. If there were more addresses
// within a minute than are kept, it returns 0 for the others.
func (f *Failures) Count(now time.Time, from netip.Addr) (unreported int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	network := networkOf(from)
	before, isKnown := f.by.Peek(network)
	if !isKnown {
		before = new(reported)
		if _, oldest, _ := f.by.GetOldest(); f.by.Len() == keptAddresses && now.Sub(oldest.at) < reportEvery {
			return 0
		}
	}
	before.since++
	if isKnown && now.Sub(before.at) < reportEvery {
		return 0
	}
	f.by.Remove(network) // so that it becomes the newest
	f.by.Add(network, &reported{at: now})
	return before.since
}

// networkOf returns what one party has: an address, of IPv6 64 bits of it.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	network, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return network
}

// Slow waits a second, or until ctx ends. It reports false, at once, if too many
// others wait already.
func (f *Failures) Slow(ctx context.Context) (hasWaited bool) {
	select {
	case f.slowed <- struct{}{}:
	default:
		return false
	}
	defer func() { <-f.slowed }()
	timer := time.NewTimer(slowedBy)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"b24proxy/proxy/joining"
)

// experience is what earlier answers showed of reads: how long they take, and which of
// them fail in a batch. It is kept from the first read on that may travel with others: most
// proxies have none, and the pace takes 0.2 kB of each portal.
type experience struct {
	isNeeded atomic.Bool

	mu      sync.Mutex
	pace    *joining.Pace
	misfits *joining.Misfits
}

func newExperience() *experience {
	return &experience{pace: joining.NewPace(), misfits: joining.NewMisfits()}
}

// took notes how long a call took at its portal; 0: unknown.
func (x *experience) took(to route, d time.Duration) {
	if d <= 0 || !to.call.Read() || !x.isNeeded.Load() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pace.Took(joining.Key{Portal: to.portal, Method: to.call.Method}, d)
}

// learn takes over what a batch shows of one of its reads.
func (x *experience) learn(r *rider, p joining.Part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	switch {
	case p.Refused:
		x.misfits.Refused(now, r.ownName())
	case p.Alone != "":
		x.misfits.Failed(now, r.ownName(), joining.OfMethod)
		x.misfits.Failed(now, r.read.Group, joining.OfCredential)
	default:
		x.misfits.Succeeded(now, r.ownName())
		x.misfits.Succeeded(now, r.read.Group)
		if p.Took >= 0 {
			x.pace.Took(r.paceKey(), p.Took)
		}
	}
}

// failed takes over that a batch failed as a whole, which says nothing of its methods. It
// counts once, however many reads there were.
func (x *experience) failed(first *rider) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.misfits.Failed(time.Now(), first.read.Group, joining.OfBatch)
}

// alone says why a read is sent alone for now; "" if it does not.
func (x *experience) alone(now time.Time, r *rider) joining.Reason {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.aloneLocked(now, r)
}

func (x *experience) aloneLocked(now time.Time, r *rider) joining.Reason {
	switch {
	case x.pace.Slow(r.paceKey()):
		return joining.Slow
	case x.misfits.Has(now, r.read.Group), x.misfits.Has(now, r.ownName()):
		return joining.Misfit
	}
	return ""
}

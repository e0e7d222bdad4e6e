package operating

import (
	"context"
	"sync"
	"time"

	"b24proxy/limiter"
)

// Wait waits until a call may ask to be let in. It fails with a
// *limiter.Rejection, at once where the wait would end after the deadline, or
// with the cause of ctx.
func (g *Guard) Wait(ctx context.Context, k Key, deadline time.Time) error {
	for {
		due, rejection := g.due(time.Now(), k, deadline)
		switch {
		case rejection != nil:
			return rejection
		case due == 0:
			return nil
		case !g.waiting.enter(k.Upstream):
			return &limiter.Rejection{Reason: limiter.QueueFull, RetryAfter: due}
		}
		err := g.sleep(ctx, due)
		g.waiting.leave(k.Upstream)
		if err != nil {
			return err
		}
	}
}

// WouldReject reports whether Wait would reject a call at once: nil, or the
// Rejection.
func (g *Guard) WouldReject(now time.Time, k Key, deadline time.Time) *limiter.Rejection {
	_, rejection := g.due(now, k, deadline)
	return rejection
}

// due returns how long a call must wait before it asks again; 0: it may enter.
func (g *Guard) due(now time.Time, k Key, deadline time.Time) (time.Duration, *limiter.Rejection) {
	due := g.RetryAfter(now, k)
	switch {
	case g.limit == 0:
		return 0, nil
	case due > 0 && due > deadline.Sub(now):
		return 0, &limiter.Rejection{Reason: limiter.OperatingTime, RetryAfter: due}
	}
	return due, nil
}

func (g *Guard) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.closed:
		return &limiter.Rejection{Reason: limiter.Draining, RetryAfter: time.Second}
	}
}

// Close ends every wait, with a Rejection as Draining.
func (g *Guard) Close() { g.close() }

// waiting counts the calls that wait, by upstream.
type waiting struct {
	most int // calls of one upstream

	mu    sync.Mutex
	calls map[string]int
}

// enter reports whether one more call may wait, which must then leave.
func (w *waiting) enter(upstream string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[upstream] >= w.most {
		return false
	}
	w.calls[upstream]++
	return true
}

func (w *waiting) leave(upstream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[upstream]--; w.calls[upstream] == 0 {
		delete(w.calls, upstream)
	}
}

package limiter

import "time"

// maxRetryAfter bounds the time after which a caller who was rejected is asked
// to come again.
const maxRetryAfter = time.Minute

// retryTimes are the times at which callers who were rejected are asked to come
// again: each caller's is later than the one before, as places in the queue open,
// so that they do not all come back at once. The zero value has given none.
type retryTimes struct {
	last time.Time // that was given
}

// next returns how long a caller should wait before coming again, which is not
// before base has passed. One place opens in each interval. No time is further
// ahead than maxRetryAfter: a crowd of callers delays nobody for longer.
func (t *retryTimes) next(now time.Time, base, interval time.Duration) time.Duration {
	at := now.Add(base)
	if after := t.last.Add(interval); after.After(at) {
		at = after
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		at = latest
	}
	t.last = at
	return at.Sub(now)
}

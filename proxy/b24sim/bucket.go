package b24sim

import "time"

// bucket is the counter of the rate limit as documented: every request adds 1,
// a request that would lift it above burst is refused, and it falls by rate
// once a second. It falls in whole steps, at a phase that callers cannot know,
// and never below zero.
//
// The ticks are counted when the level is read. Burst 0 means no limit.
type bucket struct {
	level int
	tick  int64 // ticks counted so far
}

// limit is what all buckets of a portal share.
type limit struct {
	burst, rate  int
	refusedCount bool
	phase        time.Duration // of the tick, 0 to 1 s
}

// ticks is the number of ticks until the virtual time now.
func (l limit) ticks(now time.Duration) int64 {
	return int64((now + l.phase) / time.Second)
}

// drain lowers b by the ticks until the virtual time now.
func (b *bucket) drain(l limit, now time.Duration) {
	tick := l.ticks(now)
	steps := tick - b.tick
	b.tick = tick
	if steps >= int64(b.level) { // rate is at least 1; this also keeps the product from overflowing
		b.level = 0
		return
	}
	b.level = max(0, b.level-int(steps)*l.rate)
}

// arrive counts one request and reports whether it is accepted.
func (b *bucket) arrive(l limit, now time.Duration) bool {
	if l.burst == 0 {
		return true
	}
	b.drain(l, now)
	if b.level < l.burst {
		b.level++
		return true
	}
	if l.refusedCount {
		b.level++
	}
	return false
}

// spend counts n requests at once.
func (b *bucket) spend(l limit, now time.Duration, n int) {
	if l.burst == 0 || n <= 0 {
		return
	}
	b.drain(l, now)
	if l.refusedCount {
		b.level += n
		return
	}
	b.level = max(b.level, min(b.level+n, l.burst))
}

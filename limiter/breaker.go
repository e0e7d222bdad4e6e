package limiter

import "time"

// probeInterval is the time between two calls that find out whether a blocked
// upstream answers again. People lift such a block by hand
// (proxy/bitrix24/README.md#system-errors), so it would not help to ask more often.
const probeInterval = time.Minute

// A breaker keeps calls away from an upstream that answers all of them with
// OVERLOAD_LIMIT. While it is open, one call a minute is let through as a probe,
// and the others are rejected. The first other answer closes it. The zero breaker
// is closed. It has no lock: its line has.
type breaker struct {
	openedAt time.Time // zero: it is closed
	probeAt  time.Time // when the next probe may be sent
}

// enter lets a call through, or returns the Rejection. While the breaker is
// open, a call that it lets through is the probe of this minute: so it is asked
// last, when nothing else would reject the call.
func (b *breaker) enter(now time.Time) *Rejection {
	if rejection := b.wouldReject(now); rejection != nil {
		return rejection
	}
	b.probeAt = now.Add(probeInterval)
	return nil
}

// wouldReject is what enter would return, and changes nothing.
func (b *breaker) wouldReject(now time.Time) *Rejection {
	if b.open() && now.Before(b.probeAt) {
		return b.rejection(now)
	}
	return nil
}

// rejection sends a caller away until the next probe.
func (b *breaker) rejection(now time.Time) *Rejection {
	return &Rejection{Reason: Overload, RetryAfter: b.probeAt.Sub(now)}
}

// answered notes an answer of the upstream to a call that was sent at the given
// time. It must not be called where the upstream did not answer (a timeout, a
// gateway's page), since that does not show that the block was lifted. An answer
// to a call that was in flight when the breaker opened does not show it either.
func (b *breaker) answered(now, sent time.Time, overload bool) BlockChange {
	switch {
	case !overload && b.open() && sent.After(b.openedAt):
		b.openedAt = time.Time{}
		return BlockLifted
	case overload && !b.open():
		b.openedAt, b.probeAt = now, now.Add(probeInterval)
		return BlockSeen
	}
	return BlockUnchanged
}

// adopt takes over what a store knows of a block that other limiters meet too.
func (b *breaker) adopt(now time.Time, blocked bool, probeAt time.Time) {
	switch {
	case !blocked:
		b.openedAt = time.Time{}
		return
	case !b.open():
		b.openedAt = now
	}
	b.probeAt = probeAt
}

// probeUnsent allows another probe at once: the last one was not sent.
func (b *breaker) probeUnsent(now time.Time) { b.probeAt = now }

func (b *breaker) open() bool { return !b.openedAt.IsZero() }

package limiter

import "time"

// probeInterval is the time between two calls that ask whether a blocked
// upstream is open again. Such a block is lifted by hand (documented), so
// haste gains nothing.
const probeInterval = time.Minute

// A breaker keeps calls from an upstream that answers all of them with
// OVERLOAD_LIMIT: a call a minute goes as a probe, the rest are refused here.
// The first other answer closes it. The zero breaker is closed. It has no lock:
// its line has.
type breaker struct {
	opened time.Time // zero: closed
	probe  time.Time // when the next may go
}

// enter tells whether a call may go: nil, or the Rejection. While the breaker
// is open, nil makes the call the probe of this minute, so it is asked last,
// when nothing else would refuse the call.
func (b *breaker) enter(now time.Time) *Rejection {
	if refused := b.blocks(now); refused != nil {
		return refused
	}
	b.probe = now.Add(probeInterval)
	return nil
}

// blocks is enter without its consequence.
func (b *breaker) blocks(now time.Time) *Rejection {
	if b.open() && now.Before(b.probe) {
		return &Rejection{Reason: Overload, RetryAfter: b.probe.Sub(now)}
	}
	return nil
}

// answered books an answer of the upstream to a call sent at the given time.
// What is no answer (a timeout, a page of some gateway) is not to be booked:
// it does not say that the block was lifted. Nor does an answer to a call that
// was under way when the breaker opened.
func (b *breaker) answered(now, sent time.Time, overload bool) {
	switch {
	case !overload && sent.After(b.opened):
		b.opened = time.Time{}
	case overload && !b.open():
		b.opened, b.probe = now, now.Add(probeInterval)
	}
}

// unprobed takes back that a call went as the probe: it was not sent.
func (b *breaker) unprobed(now time.Time) { b.probe = now }

func (b *breaker) open() bool { return !b.opened.IsZero() }

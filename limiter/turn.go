package limiter

import "time"

// latestTurn bounds how far ahead a caller who is refused is to come again.
const latestTurn = time.Minute

// turns are the appointments of callers who were refused: each has one of its
// own, later than that of those who were refused before, as places open. So they
// do not come back all at once. The zero value has given none.
type turns struct {
	last time.Time // that was given
}

// next gives an appointment, no sooner than after base, and says how far off it
// is. Places open one in each step. What was promised is kept no further ahead
// than the latest that callers are given: a flood delays nobody for longer.
func (t *turns) next(now time.Time, base, step time.Duration) time.Duration {
	at := now.Add(base)
	if after := t.last.Add(step); after.After(at) {
		at = after
	}
	if latest := now.Add(latestTurn); at.After(latest) {
		at = latest
	}
	t.last = at
	return at.Sub(now)
}

package metrics

// A Replay is what was done with a call that repeats another one.
type Replay string

const (
	Joined   Replay = "joined"   // it got the answer of the first, which was under way
	Replayed Replay = "replayed" // it got the answer of the first, which was kept
	Held     Replay = "held"     // it was not sent, since the first ran or may have
	Mismatch Replay = "mismatch" // its Idempotency-Key was that of another call
	Evicted  Replay = "evicted"  // what was kept of a call had to go before its time
)

// WouldRun reports whether the call would have run twice if it had been sent.
func (r Replay) WouldRun() bool { return r == Joined || r == Replayed || r == Held }

var replayResults = []Replay{Joined, Replayed, Held, Mismatch, Evicted}

// Replay counts what was done with a call that repeats another one.
func (m *Metrics) Replay(portal string, result Replay) {
	m.count(portal, series{replays, string(result), ""})
}

package limiter

import (
	"fmt"
	"time"
)

// A Store keeps the buckets that several limiters share. Package redisstore has
// one for limiters in other processes, Memory is one for limiters in this process.
//
// A limiter that shares a bucket gives no slot on its own account. It reports what
// has happened and how many slots it wants, and is granted some of them.
type Store interface {
	// Sync brings a bucket and the limiter's knowledge of it up to date. It
	// returns within SyncBound. It fails with an *Away once the store has not
	// answered for AwayAfter. The limiter then goes on alone. After another error
	// it asks again: a limiter that went on alone because of one slow answer would
	// send calls in addition to those of the others, who have the store.
	Sync(r Report) (Reply, error)
}

// SyncBound is the longest that a Store may take for an answer. A slot that is
// granted later than that is not used.
const SyncBound = 50 * time.Millisecond

// AwayAfter is for how long a Store fails before it is away. The other limiters have
// noticed by then, and leave to this one its part of the limit.
const AwayAfter = time.Second

// A Report is what a limiter says to a Store of one upstream. Counts are of what
// happened since its last report that was answered.
type Report struct {
	Upstream string
	Plan     Plan // limited

	// The number of the report among this limiter's of the upstream, from 1, and of
	// the last one that was answered: a store takes back the slots of an answer that
	// was lost.
	Number, Answered int64

	Want    int // slots, for calls that wait
	Clients int // whose calls these are

	InFlight int // calls sent that may not have arrived, of which the store grants more
	Unsent   int // slots that were not used
	Accepted int // calls that the upstream accepted

	Refused int           // calls that the upstream refused
	Since   time.Duration // from the sending of the last of these until now

	Block BlockChange // what was seen of a block of the upstream as a whole

	Rejoins bool    // the store was away
	Alone   float64 // what was sent meanwhile, less what has surely drained

	Known Knowledge // the worst that the limiter knows of, for a store that was away or has lost writes

	Elapsed time.Duration // since the last report that was answered was made; 0: there is none

	// What the Store itself adds, where it knows of more than one bucket.
	Part float64       // of the limit that is for replicas which reach the store; 0: all of it
	Lost time.Duration // since the store lost writes; 0: it has not
}

// A BlockChange is what a limiter has seen of a block, see breaker.
type BlockChange int

const (
	BlockUnchanged BlockChange = iota
	BlockSeen                  // an answer shows that the upstream is blocked
	BlockLifted                // an answer shows that it is not any more
	ProbeUnsent                // the probe that was granted was not sent
)

// Knowledge is what limiters that share a bucket know of it.
type Knowledge struct {
	Version int64         // counts the reports; a store that has a lower one has lost writes
	Level   float64       // of the bucket
	Margin  int           // that refusals may have widened
	Share   float64       // calls per second left to us, see adaptiveRate
	Refusal time.Duration // from the last refusal until now
}

// A Reply is a store's answer to a Report.
type Reply struct {
	Granted int
	Next    time.Duration // until the limiter's next slot is due, where it wants more

	Known Knowledge

	OtherCalls   int           // that wait at the other limiters
	OtherClients int           // whose calls these are
	Replicas     int           // that used the bucket of late, this one too
	Part         float64       // of the limit that the bucket has, see Report
	Blocked      bool          // the upstream is blocked as a whole, and grants probes alone
	ProbeIn      time.Duration // until the next one
	Held         bool          // the calls in flight keep the level from draining
}

// Away is the error of a store that cannot be reached.
type Away struct {
	Since    time.Time
	Replicas int // limiters that shared the buckets when they were last seen; 0: none was ever seen
	Cause    error
}

func (a *Away) Error() string {
	return fmt.Sprintf("the store has been away since %s: %v", a.Since.UTC().Format(time.RFC3339), a.Cause)
}

func (a *Away) Unwrap() error { return a.Cause }

// Terms are the numbers by which every Store keeps a bucket; times are in seconds.
type Terms struct {
	Rate, Burst, Span, Margin, WorstMargin                     float64 // of the plan
	Lease, Usable, Grace, Seen, Kept, Longest, Rounding, Probe float64 // the same for all plans
}

// TermsOf returns the terms for buckets of a plan.
func TermsOf(p Plan) Terms {
	p = p.Capped()
	return Terms{
		Rate: p.Rate, Burst: float64(p.Burst), Span: newAdaptiveRate(p).span.Seconds(),
		Margin: float64(p.margin()), WorstMargin: float64(p.worstMargin()),
		Lease: lease.Seconds(), Usable: usable.Seconds(), Grace: grace.Seconds(), Seen: seen.Seconds(),
		Kept: 2 * kept.Seconds(), Longest: maxSleep.Seconds(), Rounding: rounding, Probe: probeInterval.Seconds(),
	}
}

// A StoreState is whether a Store can be reached.
type StoreState struct {
	Up       bool
	Since    time.Time // that it cannot
	Replicas int       // that share the buckets; while it is away, as of when they were last seen
}

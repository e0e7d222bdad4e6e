package limiter

import (
	"cmp"
	"sync"
	"time"
)

// A Memory keeps the buckets of limiters in this process. It is what every other
// Store is compared with.
type Memory struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[string]*sharedBucket
}

// NewMemory makes a Memory that has seen nothing yet, with the given clock.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, buckets: make(map[string]*sharedBucket)}
}

// Replica is the Store of one limiter.
func (m *Memory) Replica(name string) Store { return memoryReplica{m, name} }

// Flush loses everything.
func (m *Memory) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.buckets)
}

type memoryReplica struct {
	memory *Memory
	name   string
}

func (r memoryReplica) Sync(report Report) (Reply, error) {
	m := r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.buckets[report.Upstream]
	if b == nil {
		b = &sharedBucket{bucket: newBucket(report.Plan), replicas: make(map[string]*replica)}
		m.buckets[report.Upstream] = b
	}
	return b.sync(m.now(), r.name, report), nil
}

const (
	// lease is how long what a replica says of its calls in flight counts. By
	// then they have arrived, also those of the slots that it has just been
	// granted: it uses them within usable, or not at all.
	lease = arrivalBound + usable

	// usable is how long a slot is good for after it was asked for.
	usable = 2 * SyncBound

	// grace is how long a slot is kept for a replica that does not come for it.
	grace = 100 * time.Millisecond

	// seen is how long a replica counts that does not report.
	seen = time.Minute

	// rounding is the part of a slot that is not waited for.
	rounding = 1e-6
)

// A sharedBucket is a bucket and the replicas that use it.
//
// The calls in flight anywhere hold its level up. Each replica says how many it
// has; that counts until it says something else, or until the lease is over: so a
// replica that dies frees its calls.
//
// The proof of bucket holds for all replicas together. Its second step needs that no
// more calls are in flight at any time than the level. What a replica has said is never
// too low: a call that it sends later is one of the slots that were added when they were
// granted, and a call that is answered only makes it too high. The level is the store's,
// which knows of each slot before it is used.
//
// The slots are shared among the replicas by self-clocked fair queueing, as
// within a queue, each replica with the weight of the clients that wait there. A
// replica that has to wait is asked to come again when its own next slot is due,
// so replicas do not come all at once. What it said of its queue counts until
// then. The slots that are due meanwhile are kept for those before it.
type sharedBucket struct {
	bucket   *bucket
	at       time.Time     // of the last report
	ahead    time.Duration // what the store's clock has jumped
	version  int64
	replicas map[string]*replica
	clock    float64
	probeAt  time.Time // of an upstream that is blocked; zero: it is not
}

type replica struct {
	name      string
	seen      time.Time // when it reported last
	inFlight  int
	arrivedBy time.Time // when the calls in flight have surely arrived

	calls   int // that wait
	clients int
	tag     float64
	waits   time.Time // until when it does

	number  int64 // of its last report
	granted int   // for that
}

func (s *sharedBucket) sync(clock time.Time, name string, r Report) Reply {
	b := s.bucket
	now, last := s.time(clock, name, r), s.at
	s.at = now
	s.drain(last, now, r)
	level := b.level(now)
	if r.Lost > 0 && last.Before(now.Add(-r.Lost)) {
		level = max(level, float64(b.size())-float64(b.tokens.Limit())*r.Lost.Seconds())
	}
	lost := r.Known.Version > s.version
	if lost {
		s.version = r.Known.Version
		s.learn(now, r.Known)
	}
	if lost || r.Rejoins {
		level = max(level, min(max(level+r.Alone, r.Known.Level), float64(b.size()+b.margin)))
	}
	s.version++
	unsent := r.Unsent + s.lost(now, name, r)
	me := s.state(now, name, r)
	b.setLevel(now, level-float64(unsent))
	b.adaptive.accepted(float64(r.Accepted) / b.part)
	if r.Refused > 0 {
		b.refused(now, &Slot{sent: now.Add(-r.Since), arrived: true})
		b.setLevel(now, b.level(now)+float64(r.Refused-1))
	}
	s.block(now, r.Block)
	s.probe(now, me)
	granted, next := s.share(now, me)
	me.number, me.granted = r.Number, granted
	if granted > 0 && !s.probeAt.IsZero() {
		s.probeAt = now.Add(probeInterval)
	}
	level = b.level(now) + float64(granted)
	s.setInFlight(now, me, me.inFlight+granted)
	b.setLevel(now, level)
	reply := Reply{Granted: granted, Next: next, Part: b.part, Held: level <= float64(b.unanswered)+rounding, Blocked: !s.probeAt.IsZero()}
	if reply.Blocked {
		reply.ProbeIn = max(0, s.probeAt.Sub(now))
	}
	for _, other := range s.replicas {
		if now.Sub(other.seen) < seen {
			reply.Replicas++
		}
		if other != me && other.calls > 0 && other.waits.After(now) {
			reply.OtherCalls += other.calls
			reply.OtherClients += other.clients
		}
	}
	reply.Known = Knowledge{s.version, level, b.margin, b.adaptive.share, now.Sub(b.adaptive.refusal)}
	return reply
}

// time is the bucket's own: the store's clock, less what that has jumped ahead. The
// replica knows how much time has passed since its last report. No more of it is taken
// back than has passed since any replica's.
func (s *sharedBucket) time(clock time.Time, name string, r Report) time.Time {
	now := clock.Add(-s.ahead)
	if me := s.replicas[name]; me != nil && r.Elapsed > 0 {
		if jump := min(now.Sub(me.seen)-r.Elapsed, now.Sub(s.at)); jump > usable {
			s.ahead += jump
			now = now.Add(-jump)
		}
	}
	return now
}

// drain brings the level up to date. The time since the last report counts by the
// smaller part of the limit, the last one or the new one. Who leaves takes its part of
// the level along, and brings as much back.
func (s *sharedBucket) drain(last, now time.Time, r Report) {
	b, part := s.bucket, cmp.Or(r.Part, 1)
	if last.IsZero() || last.After(now) {
		last = now
	}
	b.setMargin(last, max(b.margin, r.Known.Margin))
	if part < b.part {
		b.setPart(last, part)
	}
	s.arrive(now)
	if part > b.part {
		b.setPart(now, part)
	}
	if p := r.Plan.Capped(); p != b.plan {
		b.replan(now, p, b.level(now))
	}
}

// block takes over what a replica has seen of a block.
func (s *sharedBucket) block(now time.Time, change BlockChange) {
	switch {
	case change == BlockLifted:
		s.probeAt = time.Time{}
	case change == BlockSeen && s.probeAt.IsZero():
		s.probeAt = now.Add(probeInterval)
	case change == ProbeUnsent && !s.probeAt.IsZero():
		s.probeAt = now
	}
}

// probe leaves a replica, while the upstream is blocked, one call a minute of all
// replicas.
func (s *sharedBucket) probe(now time.Time, me *replica) {
	switch {
	case s.probeAt.IsZero():
	case s.probeAt.After(now):
		me.calls = 0
	default:
		me.calls = min(me.calls, 1)
	}
}

// lost counts the slots that a replica was granted last, if it has not had the answer.
// After the lease they have drained.
func (s *sharedBucket) lost(now time.Time, name string, r Report) int {
	me := s.replicas[name]
	if me == nil || me.number != r.Number-1 || r.Answered >= me.number || now.Sub(me.seen) >= lease {
		return 0
	}
	return me.granted
}

// learn takes over what a replica has learned of a bucket that was lost.
func (s *sharedBucket) learn(now time.Time, k Knowledge) {
	s.bucket.adaptive.share, s.bucket.adaptive.refusal = k.Share, now.Add(-k.Refusal)
}

// arrive takes the calls out whose leases are over, the oldest first, since the
// level drains in between.
func (s *sharedBucket) arrive(now time.Time) {
	for {
		var first *replica
		for _, r := range s.replicas {
			if r.inFlight > 0 && !r.arrivedBy.After(now) && (first == nil || r.arrivedBy.Before(first.arrivedBy)) {
				first = r
			}
		}
		if first == nil {
			return
		}
		s.setInFlight(first.arrivedBy, first, 0)
	}
}

func (s *sharedBucket) setInFlight(at time.Time, r *replica, n int) {
	b := s.bucket
	b.unanswered += n - r.inFlight
	r.inFlight, r.arrivedBy = n, at.Add(lease)
	b.tokens.SetBurstAt(at, b.size()-b.unanswered)
}

// state takes over what a replica says of itself.
func (s *sharedBucket) state(now time.Time, name string, r Report) *replica {
	me := s.replicas[name]
	if me == nil {
		me = &replica{name: name}
		s.replicas[name] = me
	}
	s.setInFlight(now, me, r.InFlight)
	waited := me.calls > 0 && me.waits.After(now)
	me.seen = now
	me.calls, me.clients = r.Want, max(1, r.Clients)
	if !waited {
		me.tag = max(me.tag, s.clock+1/float64(me.clients))
	}
	return me
}

// share gives a replica the slots that are due and its own. The others' are left
// for them.
func (s *sharedBucket) share(now time.Time, me *replica) (granted int, next time.Duration) {
	b := s.bucket
	free := float64(b.size()) - b.level(now)
	left := make(map[*replica]replica)
	for _, r := range s.replicas {
		if r.calls > 0 && (r == me || r.waits.After(now)) {
			left[r] = *r
		}
	}
	for slot := 1; me.calls > 0; slot++ {
		r := first(left)
		if r != me {
			o := left[r]
			o.calls--
			o.tag += 1 / float64(o.clients)
			if left[r] = o; o.calls == 0 {
				delete(left, r)
			}
			continue
		}
		if missing := float64(slot) - free; missing > rounding {
			next = min(seconds(missing/float64(b.tokens.Limit()))+time.Microsecond, maxSleep)
			break
		}
		granted++
		s.clock = max(s.clock, me.tag)
		me.calls--
		me.tag += 1 / float64(me.clients)
		left[me] = *me
	}
	me.waits = now.Add(next + grace)
	return granted, next
}

// first is the replica whose turn it is: the one with the lowest tag.
func first(left map[*replica]replica) (first *replica) {
	for r, state := range left {
		if first == nil || state.before(left[first]) {
			first = r
		}
	}
	return first
}

func (r replica) before(o replica) bool { return r.tag < o.tag || r.tag == o.tag && r.name < o.name }

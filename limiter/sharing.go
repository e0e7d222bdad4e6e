package limiter

import (
	"errors"
	"math/rand/v2"
	"time"
)

// sharing is what a line knows of a bucket that it shares with other replicas.
//
// The line's own bucket is a copy then. It changes with every call, as it would
// without a store, and each answer of the store corrects it. Waits are estimated
// from it, people see it, and while the store is away the line goes on with it.
//
// The dispatcher alone asks the store, and holds no lock then. So one question of
// a line is on its way at a time.
type sharing struct {
	store            Store
	plan             Plan      // of all replicas together
	pending          Report    // what happened since the last report
	number, answered int64     // of the last report, and of the last one that was answered
	refused          time.Time // when the last of pending.Refused was sent

	reported time.Time // when the last report that was answered was made
	known    int64     // the version
	knownAt  time.Time // when the store answered last; zero: never
	askAt    time.Time // when this replica's next slot is due
	retryAt  time.Time // when to ask again after an error
	inFlight int       // calls that the store takes to be in flight here
	last     Reply

	alone    bool
	replicas int // that the limit is divided by while the line is alone
	granted  int // slots since then
}

const (
	// settleDelay is how long a report of calls that were answered waits for
	// others that are answered just after them.
	settleDelay = 20 * time.Millisecond

	// fresh is how old knowledge of a bucket may be that other replicas use. One
	// that waits for slots asks at least once in this time.
	fresh = maxSleep + grace

	// kept is how long a store surely keeps a bucket that nobody uses. One that
	// is missing sooner was lost.
	kept = 10 * time.Minute

	// unseenReplicas is what the limit is divided by before the store was reached
	// for the first time.
	unseenReplicas = 2
)

// newSharing lets a line share its bucket, if there is a store. An observing
// limiter's calls are not paced, so it has nothing to share. An upstream whose plan is
// unlimited has no bucket.
func newSharing(c Config, b *bucket) *sharing {
	if c.Store == nil || c.Observe {
		return nil
	}
	return &sharing{store: c.Store, plan: b.plan}
}

// note keeps for the next report how a call ended.
func (s *sharing) note(o Outcome, slot *Slot) {
	switch {
	case s == nil:
	case s.alone:
		if o == unsent {
			s.granted = max(0, s.granted-1)
		}
	case o == unsent && !slot.arrived:
		s.pending.Unsent++
	case o == Accepted:
		s.pending.Accepted++
	case o == Refused:
		s.pending.Refused++
		if slot.sent.After(s.refused) {
			s.refused = slot.sent
		}
	}
}

// noteBlock keeps for the next report what was seen of a block.
func (s *sharing) noteBlock(change BlockChange) {
	if s != nil && !s.alone && change != BlockUnchanged {
		s.pending.Block = change
	}
}

// ahead is how many calls at all replicas are served before one that has so many
// ahead of it in this queue.
func (s *sharing) ahead(now time.Time, own int, q *queue) int {
	if s == nil || s.alone || now.Sub(s.knownAt) > fresh {
		return own
	}
	return own + min(s.last.OtherCalls, (own+1)*s.last.OtherClients/max(1, len(q.clients)))
}

// stirLocked makes the dispatcher look again. Where none runs, one is started if
// the store should know of a call that ended.
func (l *line) stirLocked(now time.Time) {
	if l.sharing == nil || l.dispatching || l.untilSyncLocked(now) == untilWoken {
		l.wake()
		return
	}
	l.dispatching = true
	go l.dispatch()
}

// serveShared asks the store for slots when some are due, gives them out, and
// returns when to ask again.
func (l *line) serveShared() (next time.Duration, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if next = l.untilSyncLocked(now); next == 0 {
		next = l.syncLocked(now)
	}
	l.dispatching = l.queue.length > 0 || next < untilWoken
	return next, l.dispatching
}

// untilSyncLocked is how long the store need not be asked; untilWoken: as long as
// nothing happens.
func (l *line) untilSyncLocked(now time.Time) time.Duration {
	s := l.sharing
	switch {
	case s.retryAt.After(now):
		return s.retryAt.Sub(now)
	case s.pending.Refused > 0, s.pending.Block != BlockUnchanged:
		return 0 // the others must stop
	case l.queue.length == 0 || l.atMaxInFlightLocked():
		return l.untilSettledLocked(now)
	case s.alone:
		return min(l.bucket.due(now), maxSleep)
	}
	return min(max(0, s.askAt.Sub(now)), l.untilSettledLocked(now))
}

// untilSettledLocked is how long the store need not know which calls were
// answered. It learns of them with the next call, or after the lease at the
// latest. That is too late where they hold up the level and calls wait for it, and
// where they are many: calls may wait elsewhere.
func (l *line) untilSettledLocked(now time.Time) time.Duration {
	s := l.sharing
	l.bucket.update(now)
	answered := s.inFlight - l.bucket.unanswered
	switch {
	case s.alone || answered <= 0 || now.Sub(s.knownAt) > lease:
		return untilWoken
	case s.last.Held && l.queue.length > 0, answered > 1 && answered >= l.bucket.size()/10:
		return max(0, s.knownAt.Add(settleDelay).Sub(now))
	}
	return untilWoken
}

// syncLocked reports to the store, without the lock, and takes over its answer. It
// returns when to ask again.
func (l *line) syncLocked(asked time.Time) (next time.Duration) {
	s := l.sharing
	report := l.reportLocked(asked)
	l.mu.Unlock()
	reply, err := s.store.Sync(report)
	l.mu.Lock()
	now := time.Now()
	if away, is := errors.AsType[*Away](err); is {
		return l.serveAloneLocked(now, away)
	}
	if err != nil {
		s.unanswered(now, report)
		return l.untilSyncLocked(now)
	}
	s.answered, s.reported, s.alone = report.Number, asked, false
	s.last, s.known, s.knownAt = reply, reply.Known.Version, now
	if reply.Next >= maxSleep {
		reply.Next = sooner(reply.Next) // others are told the same
	}
	s.askAt, s.inFlight = now.Add(reply.Next), report.InFlight+reply.Granted
	l.grantAllLocked(asked, now, reply.Granted)
	l.bucket.adopt(now, reply.Part, reply.Known)
	l.adoptBlockLocked(now, reply)
	return l.untilSyncLocked(now)
}

// adoptBlockLocked takes over whether the upstream is blocked, unless this replica
// has seen more since it asked. Nobody waits for an upstream that is.
func (l *line) adoptBlockLocked(now time.Time, reply Reply) {
	if l.sharing.pending.Block != BlockUnchanged {
		return
	}
	l.breaker.adopt(now, reply.Blocked, now.Add(reply.ProbeIn))
	if reply.Blocked {
		l.rejectAllLocked(func() *Rejection { return l.breaker.rejection(now) })
	}
}

// unanswered notes that the store did not answer a report. It may know of it: what
// would free slots is not said again.
func (s *sharing) unanswered(now time.Time, report Report) {
	s.retryAt = now.Add(sooner(SyncBound))
	s.pending.Refused += report.Refused
	if s.pending.Block == BlockUnchanged {
		s.pending.Block = report.Block
	}
}

// sooner is a time up to a quarter shorter, at random, so that replicas which wait for the
// same do not ask in step.
func sooner(d time.Duration) time.Duration { return d - rand.N(d/4) }

// grantAllLocked gives out slots of the store. None of them is used if the process
// stood still meanwhile, since their time may be over.
func (l *line) grantAllLocked(asked, now time.Time, slots int) {
	inTime := now.Sub(asked) <= usable
	for inTime && slots > 0 && l.queue.length > 0 && !l.atMaxInFlightLocked() {
		l.grantLocked(now, l.queue.pop())
		slots--
	}
	l.sharing.pending.Unsent += slots
}

// reportLocked is what the store should know now. The next report begins anew.
func (l *line) reportLocked(now time.Time) Report {
	s, b := l.sharing, l.bucket
	level := b.level(now)
	r := s.pending
	if now.Sub(s.knownAt) > lease {
		r.Unsent = 0 // they have drained: what is given back now would be slots of others
	}
	s.pending = Report{}
	s.number++
	r.Number, r.Answered = s.number, s.answered
	r.Upstream, r.Plan = l.upstream, s.plan
	r.InFlight, r.Since = b.unanswered, now.Sub(s.refused)
	if l.queue.length > 0 && !l.atMaxInFlightLocked() {
		r.Want, r.Clients = max(1, l.queue.slots(l.queue.length)), max(1, len(l.queue.clients))
	}
	if l.maxInFlight > 0 {
		r.Want = min(r.Want, l.maxInFlight-l.inFlight)
	}
	if s.answered > 0 {
		r.Elapsed = now.Sub(s.reported)
	}
	if r.Known.Margin = b.margin; s.alone {
		r.Rejoins, r.Alone = true, min(float64(s.granted), level)
	}
	if now.Sub(s.knownAt) < kept || s.alone {
		r.Known.Version, r.Known.Level = s.known, s.worstLevel(now, level, b)
		r.Known.Share, r.Known.Refusal = b.adaptive.share, now.Sub(b.adaptive.refusal)
	}
	return r
}

// worstLevel is the highest that the level of all replicas together can be, as far
// as this one knows. The others may have used up the bucket, or their shares of it.
func (s *sharing) worstLevel(now time.Time, level float64, b *bucket) float64 {
	switch {
	case s.alone:
		return level + float64((s.replicas-1)*b.size())
	case s.last.Replicas == 1 && now.Sub(s.knownAt) <= fresh:
		return level
	}
	return float64(b.size())
}

// serveAloneLocked gives out slots while the store is away, and returns when the
// next one is due.
func (l *line) serveAloneLocked(now time.Time, away *Away) (next time.Duration) {
	s := l.sharing
	if !s.alone {
		s.goAlone(now, l.bucket, away)
	}
	for l.queue.length > 0 {
		if next = l.dueLocked(now); next > 0 {
			return min(next, maxSleep)
		}
		l.grantLocked(now, l.queue.pop())
		s.granted++
	}
	return untilWoken
}

// goAlone gives this replica its part of the bucket, which is as full as it can be:
// until the replicas go alone, they use the whole limit.
func (s *sharing) goAlone(now time.Time, b *bucket, away *Away) {
	s.alone, s.granted, s.pending, s.replicas = true, 0, Report{}, away.Replicas
	if s.replicas == 0 {
		s.replicas = unseenReplicas
	}
	b.setPart(now, 1/float64(s.replicas))
	if s.replicas > 1 {
		alone := max(0, now.Sub(away.Since)-AwayAfter)
		b.setLevel(now, float64(b.size())-b.rate(now)*alone.Seconds())
	}
}

// adopt takes over what the store knows of the bucket.
func (b *bucket) adopt(now time.Time, part float64, k Knowledge) {
	b.margin, b.part = k.Margin, part
	b.adaptive.share, b.adaptive.refusal = k.Share, now.Add(-k.Refusal)
	b.updateRate(now)
	b.setLevel(now, k.Level)
}

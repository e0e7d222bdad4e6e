package redisstore

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"b24proxy/limiter"
)

//go:embed beat.lua
var beatSource string

//go:embed leave.lua
var leaveSource string

var (
	beatScript  = redis.NewScript(beatSource)
	leaveScript = redis.NewScript(leaveSource)
)

const (
	beatInterval = 250 * time.Millisecond

	// absentAfter is how long a replica that does not beat is thought to reach the
	// store. All others know that it is absent before it can go alone: the time and
	// a beat and a request are less than limiter.AwayAfter.
	absentAfter = 600 * time.Millisecond

	// seen is how long the others leave its part of the limit to a replica that is
	// absent. One that was killed cannot be told from one that was cut off.
	seen = 15 * time.Second

	// settle is how long it takes at most until all replicas have noticed that the
	// store is back.
	settle = time.Second

	// young is how long a store that was empty gives nothing, so that a replica which
	// remembers more of it can come first.
	young = beatInterval + limiter.SyncBound

	// kept is how long the store remembers its replicas. After that it is new to them.
	kept = 20 * time.Minute
)

// A presence is what a replica knows of the store and of those that reach it.
type presence struct {
	away    *limiter.Away // nil: it is there
	failing time.Time     // since when no beat was answered; zero: the last request was

	beatAt   time.Time
	beats    int64 // the number of the last one that was answered
	replicas int
	present  int       // those that beat
	bornAt   time.Time // when the store was empty, this replica's time
	lostAt   time.Time // when it lost writes; zero: it has not

	next chan struct{} // closed when a beat has ended that has not begun yet
}

// State is whether the store is there.
func (s *Store) State() limiter.StoreState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := limiter.StoreState{Up: s.away == nil, Replicas: s.replicas}
	if s.away != nil {
		state.Since = s.away.Since
	}
	return state
}

// live beats until ctx ends.
func (s *Store) live(ctx context.Context) {
	defer close(s.ended)
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.hurry:
		}
		s.beat(ctx)
	}
}

// beat says that this replica lives, and finds out whether the store does, and who else.
func (s *Store) beat(ctx context.Context) {
	if state := s.State(); !state.Up || state.Replicas == 0 {
		s.connect(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	s.mu.Lock()
	ended, beats, replicas := s.next, s.beats, s.replicas
	s.next = make(chan struct{})
	s.mu.Unlock()
	defer close(ended)
	began := time.Now()
	values, err := beatScript.Run(ctx, s.client, []string{s.replicasKey(), s.keyKey(), s.storeKey(), s.beatsKey()},
		s.name, s.Key(), beats, replicas, seen.Seconds(), absentAfter.Seconds(), settle.Seconds(), kept.Seconds()).Slice()
	s.took(began, err)
	found := presence{beatAt: began, beats: beats + 1}
	var key []byte
	if err == nil {
		key, err = found.decode(values)
	}
	switch {
	case err == nil:
		s.setKey(key)
		s.back(found)
	case ctx.Err() != context.Canceled:
		s.failed(err)
	}
}

// connect makes a connection for the requests that follow, which have less time.
func (s *Store) connect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, connectBound)
	defer cancel()
	s.client.Exists(ctx, s.replicasKey())
}

// decode reads what the script returns to a beat.
func (p *presence) decode(values []any) (key []byte, err error) {
	const fields = 5
	if len(values) != fields {
		return nil, fmt.Errorf("got %d values of the script, want %d", len(values), fields)
	}
	replicas, _ := values[0].(int64)
	present, _ := values[1].(int64)
	text, _ := values[2].(string)
	age, wrong1 := strconv.ParseFloat(fmt.Sprint(values[3]), 64)
	lost, wrong2 := strconv.ParseFloat(fmt.Sprint(values[4]), 64)
	p.replicas, p.present, p.bornAt = int(replicas), int(present), p.beatAt.Add(-seconds(age))
	if lost >= 0 {
		p.lostAt = p.beatAt.Add(-seconds(lost))
	}
	return []byte(text), errors.Join(wrong1, wrong2)
}

// setKey takes over the key that the replicas have.
func (s *Store) setKey(key []byte) {
	if bytes.Equal(key, s.Key()) {
		return
	}
	s.key.Store(&key)
	if s.config.Key != nil {
		s.config.Key(key)
	}
}

// Key is the key that all replicas have; this one's own until the store has shown it.
func (s *Store) Key() []byte {
	if key := s.key.Load(); key != nil {
		return *key
	}
	return nil
}

// failed notes that a request failed, and returns its error. It is an *Away if the
// store has not answered for long, or never has.
func (s *Store) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.failing.IsZero() {
		s.failing = now
	}
	if s.away == nil && s.replicas > 0 && now.Sub(s.failing) < limiter.AwayAfter {
		return err
	}
	if s.away == nil {
		err = errors.New(s.secrets.Replace(err.Error()))
		s.away = &limiter.Away{Since: s.failing, Replicas: s.replicas, Cause: err}
		s.config.Log.Warn("the shared store is away; this replica goes on alone with its share of the limit",
			"error", err, "replicas", s.replicas)
	}
	return s.away
}

// back notes that the store is there.
func (s *Store) back(found presence) {
	if again := s.again.Load(); s.takeOver(found) && again != nil {
		(*again)()
	}
}

// takeOver takes over what a beat has found, and reports whether the store has lost
// writes since the last one.
func (s *Store) takeOver(found presence) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost = found.lostAt.Sub(s.lostAt) > young // two beats do not say quite the same of one loss
	if lost && s.beats > 0 {
		s.config.Log.Warn("the shared store has lost its data; the replicas tell it what they know")
	}
	if s.away != nil {
		s.config.Log.Info("the shared store is back", "away", time.Since(s.away.Since).Round(time.Millisecond).String(), "replicas", found.replicas)
	}
	found.next = s.next
	s.presence = found
	return lost
}

// isAway is since when the store has been away; nil: it is there.
func (s *Store) isAway() *limiter.Away {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

var errUnsure = errors.New("the store has to be asked first who else is there")

// ready is why a request may not be made; nil: it may be. After one that failed, and where
// the last beat is old, another beat comes first: it shows what has become of the store
// and of the other replicas meanwhile.
func (s *Store) ready(ctx context.Context) error {
	if away := s.isAway(); away != nil {
		return away
	}
	if !s.beatsNow() && !(s.awaitBeat(ctx) && s.beatsNow()) {
		return errUnsure
	}
	return nil
}

// beatsNow reports whether the last request was answered, and the last beat is not old.
func (s *Store) beatsNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away == nil && s.failing.IsZero() && time.Since(s.beatAt) <= absentAfter
}

// beatSoon makes the replica beat now.
func (s *Store) beatSoon() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// awaitBeat beats, and reports whether that ended in time.
func (s *Store) awaitBeat(ctx context.Context) bool {
	s.mu.Lock()
	beaten := s.next
	s.mu.Unlock()
	s.beatSoon()
	select {
	case <-beaten:
		return true
	case <-ctx.Done():
		return false
	}
}

// confirm beats, and reports whether the store lacks a bucket rightly: because it is
// new, or because the store has lost writes, which is known then.
func (s *Store) confirm(ctx context.Context) bool {
	if !s.awaitBeat(ctx) || !s.beatsNow() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lostAt.IsZero() || time.Since(s.bornAt) >= young
}

// amend adds to a report what is known beyond its bucket.
func (s *Store) amend(r *limiter.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Part = float64(s.present) / float64(max(s.present, s.replicas))
	if !s.lostAt.IsZero() {
		r.Lost = max(1, time.Since(s.lostAt))
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (s *Store) keyKey() string      { return "b24:{" + s.config.Egress + "}:key" }
func (s *Store) replicasKey() string { return "b24:{" + s.config.Egress + "}:replicas" }
func (s *Store) beatsKey() string    { return "b24:{" + s.config.Egress + "}:beats" }
func (s *Store) storeKey() string    { return "b24:{" + s.config.Egress + "}:store" }

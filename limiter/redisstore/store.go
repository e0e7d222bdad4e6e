// Package redisstore shares buckets among replicas on Redis 5 or later, or on
// Valkey.
//
// A bucket is one hash, b24:{EGRESS|PORTAL}:bucket. One script changes it, under
// the server's clock: those of the replicas do not matter. The hash has the level,
// what refusals have taught, and of each replica the calls in flight and those that
// wait. It expires when nobody has used it for a while. The braces put the keys of
// one portal on one node of a cluster.
//
// The replicas themselves are in a sorted set, b24:{EGRESS}:replicas. Each says
// twice a second that it lives. So it knows how many there are when the store goes
// away, and notices when the store is back. What one of them learns it publishes to
// the others, on the channel b24:{EGRESS}:news. They have one key in common, which the
// first of them chose: b24:{EGRESS}:key.
package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"b24proxy/limiter"
)

//go:embed sync.lua
var syncSource string

//go:embed beat.lua
var beatSource string

var (
	syncScript = redis.NewScript(syncSource)
	beatScript = redis.NewScript(beatSource)
)

const (
	beatInterval = 500 * time.Millisecond
	seen         = time.Minute // how long a replica counts that is not seen any more
)

// Config is what a Store is made with.
type Config struct {
	URL    string
	Egress string // replicas with the same one share the limit of a portal
	Log    Log

	// Key is called with a key that all replicas have, as soon as the store shows it:
	// before Open returns, if the store is there. It changes only where the store
	// has lost it. May be nil.
	Key func(key []byte)
}

// Log has the methods of a slog.Logger that a Store needs.
type Log interface {
	Warn(msg string, args ...any)
	Info(msg string, args ...any)
}

// A Store is a limiter.Store on Redis.
type Store struct {
	config  Config
	bound   time.Duration
	client  redis.UniversalClient
	name    string             // of this replica
	now     func() time.Time   // for tests; nil: the server's clock
	end     context.CancelFunc // ends the beat
	ended   chan struct{}
	hurry   chan struct{} // makes it beat now
	key     []byte        // that all replicas have; of its own choice before the store is reached
	hasKey  bool          // the store has shown it
	outbox  chan []byte
	silence []context.CancelFunc // end what Hear has begun
	secrets *strings.Replacer    // hides those of the address: a server's error may repeat them

	mu       sync.Mutex
	away     *limiter.Away // nil: it is there
	failing  time.Time     // since when each request fails; zero: the last one did not
	replicas int

	requested atomic.Pointer[func(took time.Duration, failed bool)]
}

// Open begins to use a store, which need not be there yet. It fails if the address
// is wrong. A store that is there is known to be when Open returns.
func Open(c Config) (*Store, error) { return open(c, limiter.SyncBound) }

func open(c Config, bound time.Duration) (*Store, error) {
	client, err := newClient(c.URL, bound)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Store{
		config: c, bound: bound, client: client, name: rand.Text()[:12],
		end: end, ended: make(chan struct{}), hurry: make(chan struct{}, 1),
		key: []byte(rand.Text()), outbox: make(chan []byte, maxOutbox), secrets: secretsIn(c.URL),
	}
	s.beat(ctx)
	go s.live(ctx)
	return s, nil
}

// Close stops using the store. This replica does not count any more.
func (s *Store) Close() error {
	s.end()
	<-s.ended
	for _, end := range s.silence {
		end()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.bound)
	defer cancel()
	s.client.ZRem(ctx, s.replicasKey(), s.name)
	return s.client.Close()
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

// beat says that this replica lives, and finds out whether the store does.
func (s *Store) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	began := time.Now()
	values, err := beatScript.Run(ctx, s.client, []string{s.replicasKey(), s.keyKey()}, s.name, seen.Seconds(), s.key).Slice()
	s.took(began, err)
	if err != nil {
		if ctx.Err() != context.Canceled {
			s.failed(err)
		}
		return
	}
	replicas, _ := values[0].(int64)
	key, _ := values[1].(string)
	s.setKey([]byte(key))
	s.back(int(replicas))
}

// setKey takes over the key that the replicas have.
func (s *Store) setKey(key []byte) {
	if s.config.Key != nil && (!s.hasKey || !bytes.Equal(key, s.key)) {
		s.config.Key(key)
	}
	s.key, s.hasKey = key, true
}

func (s *Store) keyKey() string { return "b24:{" + s.config.Egress + "}:key" }

func (s *Store) replicasKey() string { return "b24:{" + s.config.Egress + "}:replicas" }

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

// answered notes that a request was answered.
func (s *Store) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = time.Time{}
}

// back notes that the store is there.
func (s *Store) back(replicas int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas, s.failing = replicas, time.Time{}
	if s.away != nil {
		s.config.Log.Info("the shared store is back", "away", time.Since(s.away.Since).Round(time.Millisecond).String(), "replicas", replicas)
		s.away = nil
	}
}

// isAway is since when the store has been away; nil: it is there.
func (s *Store) isAway() *limiter.Away {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// Watch has a function called for each request from now on.
func (s *Store) Watch(requested func(took time.Duration, failed bool)) { s.requested.Store(&requested) }

func (s *Store) took(began time.Time, err error) {
	if requested := s.requested.Load(); requested != nil {
		(*requested)(time.Since(began), err != nil)
	}
}

// Sync is limiter.Store's. While the store is away it fails without asking.
func (s *Store) Sync(r limiter.Report) (limiter.Reply, error) {
	if away := s.isAway(); away != nil {
		return limiter.Reply{}, away
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.bound)
	defer cancel()
	began := time.Now()
	key := "b24:{" + s.config.Egress + "|" + r.Upstream + "}:bucket"
	values, err := syncScript.Run(ctx, s.client, []string{key}, s.arguments(r)...).Slice()
	var reply limiter.Reply
	if err == nil {
		reply, err = decode(values)
	}
	s.took(began, err)
	if err != nil {
		select {
		case s.hurry <- struct{}{}: // it may answer again at once
		default:
		}
		return limiter.Reply{}, s.failed(err)
	}
	s.answered()
	return reply, nil
}

// arguments are those of the script, in its order.
func (s *Store) arguments(r limiter.Report) []any {
	rejoins, now := 0, ""
	if r.Rejoins {
		rejoins = 1
	}
	if s.now != nil {
		now = strconv.FormatFloat(float64(s.now().UnixMicro())/1e6, 'f', 6, 64)
	}
	t := limiter.TermsOf(r.Plan)
	return []any{
		s.name,
		t.Rate, t.Burst, t.Span, max(t.Margin, float64(r.Known.Margin)), t.WorstMargin,
		r.Want, r.Clients, r.InFlight, r.Unsent, r.Accepted, r.Refused, r.Since.Seconds(),
		rejoins, r.Alone, r.Known.Version, r.Known.Level, r.Known.Share, r.Known.Refusal.Seconds(),
		int(r.Block), r.Number, r.Answered, t.Lease, t.Grace, t.Seen, t.Rounding, t.Longest, t.Kept, t.Probe, now,
	}
}

// decode reads what the script returns.
func decode(values []any) (r limiter.Reply, err error) {
	const fields = 13
	if len(values) != fields {
		return r, fmt.Errorf("got %d values of the script, want %d", len(values), fields)
	}
	numbers := make([]float64, fields)
	for i, value := range values {
		switch v := value.(type) {
		case int64:
			numbers[i] = float64(v)
		case string:
			number, wrong := strconv.ParseFloat(v, 64)
			numbers[i], err = number, errors.Join(err, wrong)
		}
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return limiter.Reply{
		Granted: int(numbers[0]), Next: seconds(numbers[1]),
		Known: limiter.Knowledge{
			Version: int64(numbers[2]), Level: numbers[3], Margin: int(numbers[4]),
			Share: numbers[5], Refusal: seconds(numbers[6]),
		},
		OtherCalls: int(numbers[7]), OtherClients: int(numbers[8]), Replicas: int(numbers[9]), Held: numbers[10] == 1,
		Blocked: numbers[11] == 1, ProbeIn: seconds(numbers[12]),
	}, err
}

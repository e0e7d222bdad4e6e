// Package redisstore shares buckets among replicas on Redis 5 or later, or on
// Valkey.
//
// A bucket is one hash, b24:{EGRESS|PORTAL}:bucket. One script changes it, under
// the server's clock: those of the replicas do not matter. The hash has the level,
// what refusals have taught, and of each replica the calls in flight and those that
// wait. It expires when nobody has used it for a while. The braces put the keys of
// one portal on one node of a cluster.
//
// A write that is under way, or may have run, is a hash b24:{EGRESS|PORTAL}:write:ID;
// meet.lua says how it is found. b24:{EGRESS}:beats has for a day when each replica was
// last seen, since writes may have been under way there.
//
// The replicas themselves are in a hash, b24:{EGRESS}:replicas. Each beats: it says four
// times a second that it lives. So it knows how many there are when the store goes away,
// and notices when the store is back. They have one key in common, which the first of
// them chose: b24:{EGRESS}:key. What one of them learns it publishes to the others, on
// the channel b24:{EGRESS}:news. It is kept for those that come later while it holds, in
// the hash b24:{EGRESS}:kept and the sorted set b24:{EGRESS}:kept-until.
//
// Replicas of a portal whose plan is unlimited, and those that only observe, have no
// bucket to share. They do not ask the store, though they count as replicas.
//
// # When a replica does not reach the store
//
// After a second without an answer a replica goes on alone, with its part of the limit:
// the limit divided by the number of replicas. By then the others know that it does not
// beat any more, and leave that part to it for 15 seconds. One that was killed cannot be
// told from one that was cut off, so a kill costs the others as much for as long; one
// that is stopped says goodbye. After that the others use the whole limit. One that is
// still cut off is then like another program behind the same address: refusals teach
// all of them to share.
//
// When the store is back, who comes first leaves to the others their parts, until they
// have come too or a second has passed.
//
// # When the store has lost writes
//
// The store remembers the last beat of each replica. If a replica remembers a later one,
// the store has lost writes: it was emptied, or another server took over that did not
// have them yet. Then each bucket counts as full as of that moment, whoever asks first.
// Such a loss cannot go unnoticed: after a request that failed a replica beats before it
// asks for anything, and before it takes a bucket for new.
package redisstore

import (
	"cmp"
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

var syncScript = redis.NewScript(syncSource)

// Config is what a Store is made with.
type Config struct {
	URL    string
	Egress string // replicas with the same one share the limit of a portal
	Log    Log

	// OwnKey is the key that this replica has, which the others take over if none has
	// been there before. Empty: a random one.
	OwnKey []byte

	// Key is called with OwnKey before Open returns, and with the key of the replicas as
	// soon as the store shows that they have another one. May be nil.
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
	outbox  chan news
	silence []context.CancelFunc // end what Hear has begun
	secrets *strings.Replacer    // hides those of the address: a server's error may repeat them

	mu sync.Mutex
	presence

	requested atomic.Pointer[func(took time.Duration, failed bool)]

	key    atomic.Pointer[[]byte] // that all replicas have; its own before the store is reached
	places chan struct{}          // for requests about writes
	again  atomic.Pointer[func()] // saves the writes of this replica again

	writesShort, answersShort shortage // of room for them
}

// Open begins to use a store, which need not be there yet. It fails if the address
// is wrong. A store that is there is known to be when Open returns.
func Open(c Config) (*Store, error) { return open(c, limiter.SyncBound) }

func open(c Config, bound time.Duration) (*Store, error) {
	s, err := newStore(c, bound)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.setKey(s.config.OwnKey)
	s.beat(ctx)
	go s.live(ctx)
	return s, nil
}

func newStore(c Config, bound time.Duration) (*Store, error) {
	client, err := newClient(c.URL, bound)
	if err != nil {
		return nil, err
	}
	if len(c.OwnKey) == 0 {
		c.OwnKey = []byte(rand.Text())
	}
	return &Store{
		config: c, bound: bound, client: client, name: rand.Text()[:12],
		ended: make(chan struct{}), hurry: make(chan struct{}, 1),
		outbox: make(chan news, maxOutbox), places: make(chan struct{}, mostAtOnce), secrets: secretsIn(c.URL),
		presence: presence{next: make(chan struct{})},
	}, nil
}

// Close stops using the store. This replica does not count any more, and the writes that
// it had under way are known to be lost.
func (s *Store) Close() error {
	s.end()
	<-s.ended
	for _, end := range s.silence {
		end()
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectBound) // the end of a beat may have cost the connection
	defer cancel()
	leaveScript.Run(ctx, s.client, []string{s.replicasKey(), s.beatsKey()}, s.name, deadAfter.Milliseconds())
	return s.client.Close()
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
	ctx, cancel := context.WithTimeout(context.Background(), s.bound)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return limiter.Reply{}, err
	}
	s.amend(&r)
	reply, err := s.ask(ctx, r, false)
	if errors.Is(err, errNewBucket) && s.confirm(ctx) {
		s.amend(&r)
		reply, err = s.ask(ctx, r, true)
	}
	switch {
	case errors.Is(err, errNewBucket):
		return limiter.Reply{}, err
	case err != nil:
		s.beatSoon() // it may answer again at once
		return limiter.Reply{}, s.failed(err)
	}
	return reply, nil
}

var errNewBucket = errors.New("the store does not have the bucket, and is not known to have kept all that it had")

// ask runs the script. It fails with errNewBucket where the store does not have the
// bucket, unless it is confirmed that this is so.
func (s *Store) ask(ctx context.Context, r limiter.Report, confirmed bool) (reply limiter.Reply, err error) {
	began := time.Now()
	key := "b24:{" + s.config.Egress + "|" + r.Upstream + "}:bucket"
	values, err := syncScript.Run(ctx, s.client, []string{key}, s.arguments(r, confirmed)...).Slice()
	s.took(began, err)
	switch {
	case err != nil:
		return reply, err
	case len(values) == 0:
		return reply, errNewBucket
	}
	return decode(values)
}

// arguments are those of the script, in its order.
func (s *Store) arguments(r limiter.Report, confirmed bool) []any {
	now := ""
	number := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	if s.now != nil {
		now = strconv.FormatFloat(float64(s.now().UnixMicro())/1e6, 'f', 6, 64)
	}
	t := limiter.TermsOf(r.Plan)
	return []any{
		s.name,
		t.Rate, t.Burst, t.Span, max(t.Margin, float64(r.Known.Margin)), t.WorstMargin,
		r.Want, r.Clients, r.InFlight, r.Unsent, r.Accepted, r.Refused, r.Since.Seconds(),
		number(r.Rejoins), r.Alone, r.Known.Version, r.Known.Level, r.Known.Share, r.Known.Refusal.Seconds(),
		int(r.Block), r.Number, r.Answered, r.Elapsed.Seconds(), cmp.Or(r.Part, 1), r.Lost.Seconds(), number(confirmed),
		t.Lease, t.Usable, t.Grace, t.Seen, t.Rounding, t.Longest, t.Kept, t.Probe, now,
	}
}

// decode reads what the script returns.
func decode(values []any) (r limiter.Reply, err error) {
	const fields = 14
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
	return limiter.Reply{
		Granted: int(numbers[0]), Next: seconds(numbers[1]),
		Known: limiter.Knowledge{
			Version: int64(numbers[2]), Level: numbers[3], Margin: int(numbers[4]),
			Share: numbers[5], Refusal: seconds(numbers[6]),
		},
		OtherCalls: int(numbers[7]), OtherClients: int(numbers[8]), Replicas: int(numbers[9]), Held: numbers[10] == 1,
		Blocked: numbers[11] == 1, ProbeIn: seconds(numbers[12]), Part: numbers[13],
	}, err
}

package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"b24proxy/limiter"
)

//go:embed meet.lua
var meetSource string

//go:embed save.lua
var saveSource string

//go:embed receive.lua
var receiveSource string

//go:embed absent.lua
var absentSource string

//go:embed room.lua
var roomSource string

var (
	meetScript    = redis.NewScript(roomSource + meetSource)
	saveScript    = redis.NewScript(roomSource + saveSource)
	receiveScript = redis.NewScript(receiveSource)
	absentScript  = redis.NewScript(absentSource)
)

const (
	// deadAfter is when a replica that has not been seen counts as dead.
	deadAfter = 3 * time.Second
	// retryPause is how long a request about writes waits before it is made again, and
	// twice that the next time.
	retryPause = 10 * time.Millisecond
	// longestQueue is how long a request about a write waits for others before it.
	longestQueue = 10 * time.Second
	// mostAtOnce bounds the requests about writes at the same time. Many calls that come
	// at once must not keep those about buckets from a connection.
	mostAtOnce = 8
)

// A Write is a write as replicas know it. Package proxy/replay has the same, with the
// meaning of each field; being no types of their own, both are the same type.
type Write = struct {
	Portal, ID string
	Version    int64
	Calls      []string
	Keys       []string
	Text       string
	Answer     []byte
	Sent       bool

	Open   time.Duration
	Busy   bool
	Orphan time.Duration
	Keep   time.Duration
	IsOver bool

	IsLost     bool
	IsReceived bool
}

// writes are the keys of a portal's writes.
func (s *Store) writes(portal string) string {
	return "b24:{" + s.config.Egress + "|" + portal + "}:"
}

// keysOf are the KEYS of the scripts.
func (s *Store) keysOf(w Write) []string {
	prefix := s.writes(w.Portal)
	keys := []string{prefix + "write:" + w.ID}
	for _, call := range w.Calls {
		keys = append(keys, prefix+"call:"+call)
	}
	for _, key := range w.Keys {
		keys = append(keys, prefix+"key:"+key)
	}
	return keys
}

// argumentsOf are those that the scripts have in common.
func (s *Store) argumentsOf(w Write) []any {
	return []any{w.ID, s.name, w.Version, w.Text, max(w.Keep.Milliseconds(), 1), len(w.Calls), s.writes(w.Portal) + "write:"}
}

// MeetWrite is replay.Shared's.
func (s *Store) MeetWrite(own Write, since time.Duration) (first Write, wait bool, err error) {
	if s.lostOfLate() {
		return first, true, nil
	}
	var known []any // of replicas
	for range 2 {
		values, err := s.run(meetScript, s.keysOf(own), append(s.argumentsOf(own), known...)...)
		if err != nil {
			return first, false, err
		}
		s.noteWrite(values[0])
		var owners []string
		if first, owners, err = met(own.Portal, values); err != nil || len(owners) == 0 || known != nil {
			return first, first.ID == "" && len(owners) > 0, err
		}
		absent, err := s.absent(owners)
		if err != nil {
			return first, false, err
		}
		for name, d := range absent {
			switch {
			case isDead(d, since):
				known = append(known, name, max(d, deadAfter).Milliseconds())
			case d >= 0 && d < since:
				known = append(known, name, "")
			}
		}
		if known == nil {
			break
		}
	}
	return first, first.ID == "", nil
}

// met reads what the script found, and the replicas on whose life it depends.
func met(portal string, values []any) (first Write, owners []string, err error) {
	words := make([]string, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case string:
			words[i] = v
		case int64:
			words[i] = strconv.FormatInt(v, 10)
		}
	}
	const fields = 8
	switch {
	case len(words) == fields && words[0] == "first":
		first = write(portal, words[1], words[4], words[5], words[6], words[7])
		first.IsLost = words[2] == "1"
		if first.Orphan >= 0 && !first.IsLost {
			owners = []string{words[3]}
		}
		return first, owners, nil
	case len(words) > 1 && words[0] == "wait":
		return first, words[1:], nil
	case len(words) == 1 && (words[0] == writeAdded || words[0] == writeFull):
		return first, nil, nil
	}
	return first, nil, errors.New("the script returned something else than it should")
}

func write(portal, id, text, answer, sent, orphan string) Write {
	ms, _ := strconv.ParseInt(orphan, 10, 64)
	return Write{Portal: portal, ID: id, Text: text, Answer: []byte(answer), Sent: sent == "1", Orphan: time.Duration(ms) * time.Millisecond}
}

// isDead reports whether a replica that has not been seen for so long is dead. A store
// that has lost everything sees none for a moment.
func isDead(absent, since time.Duration) bool {
	return absent > deadAfter || absent < 0 && since > deadAfter
}

// absent is for how long replicas have not been seen; negative if they never were.
func (s *Store) absent(names []string) (map[string]time.Duration, error) {
	arguments := make([]any, len(names))
	for i, name := range names {
		arguments[i] = name
	}
	values, err := s.run(absentScript, []string{s.beatsKey()}, arguments...)
	absent := make(map[string]time.Duration)
	for i, value := range values {
		ms, _ := value.(int64)
		absent[names[i]] = time.Duration(ms) * time.Millisecond
	}
	return absent, err
}

// WhenLost is replay.Shared's.
func (s *Store) WhenLost(again func()) { s.again.Store(&again) }

// lostOfLate reports whether the replicas are likely to be saving their writes again.
func (s *Store) lostOfLate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away == nil && !s.lostAt.IsZero() && time.Since(s.lostAt) < settle
}

// SaveWrite is replay.Shared's.
func (s *Store) SaveWrite(w Write) (isTaken bool, err error) {
	arguments := append(s.argumentsOf(w), w.Answer, flag(w.Sent), w.Open.Milliseconds(), flag(w.Busy), int64(math.Floor(w.Orphan.Seconds()*1000)), flag(w.IsOver))
	values, err := s.run(saveScript, s.keysOf(w), arguments...)
	if err != nil {
		return false, err
	}
	s.noteWrite(values[0])
	if len(w.Answer) > 0 {
		s.noteAnswer(values[0])
	}
	return values[0] == writeTaken, nil
}

func flag(is bool) int {
	if is {
		return 1
	}
	return 0
}

// FindWrite is replay.Shared's.
func (s *Store) FindWrite(portal, id string, since time.Duration) (w Write, err error) {
	var values []any
	err = s.request(func(ctx context.Context) (err error) {
		values, err = s.client.HMGet(ctx, s.writes(portal)+"write:"+id, "text", "answer", "sent", "orphan", "owner", "received", "taken").Result()
		return err
	})
	switch {
	case err == nil && values[0] == nil && values[6] != nil:
		return Write{Portal: portal, ID: id, Orphan: -1}, nil
	case err != nil || values[0] == nil:
		return w, err
	}
	words := make([]string, len(values))
	for i, value := range values {
		words[i], _ = value.(string)
	}
	w = write(portal, id, words[0], words[1], words[2], words[3])
	w.IsReceived = words[5] != ""
	if w.Orphan >= 0 {
		absent, err := s.absent(words[4:5])
		if err != nil {
			return Write{}, err
		}
		w.IsLost = isDead(absent[words[4]], since)
	}
	return w, nil
}

// ReceiveWrite is replay.Shared's.
func (s *Store) ReceiveWrite(portal, id string, keepsKey bool) error {
	_, err := s.run(receiveScript, []string{s.writes(portal) + "write:" + id}, id, flag(keepsKey))
	return err
}

// run runs a script that returns a list, or a number.
func (s *Store) run(script *redis.Script, keys []string, arguments ...any) (values []any, err error) {
	err = s.request(func(ctx context.Context) error {
		value, err := script.Run(ctx, s.client, keys, arguments...).Result()
		if list, is := value.([]any); is {
			values = list
		} else {
			values = []any{value}
		}
		return err
	})
	return values, err
}

// request makes a request until it is answered, or the store is away, or was not there
// for as long. A write that went out because of one slow answer might run twice. So each
// request has to be one that may be made twice.
func (s *Store) request(ask func(ctx context.Context) error) error {
	if err := s.takePlace(); err != nil {
		return err
	}
	defer func() { <-s.places }()
	enough := time.NewTimer(limiter.AwayAfter)
	defer enough.Stop()
	for pause := retryPause; ; pause *= 2 {
		if away := s.isAway(); away != nil {
			return away
		}
		err := s.once(ask)
		if err == nil {
			return nil
		}
		s.beatSoon() // it finds out whether the store is away
		select {
		case <-enough.C:
			return err
		case <-time.After(pause):
		}
	}
}

// takePlace waits until there is a place for a request. A portal takes far fewer calls in
// that time than requests are made: who waits here would wait for a slot.
func (s *Store) takePlace() error {
	select {
	case s.places <- struct{}{}:
		return nil
	case <-time.After(longestQueue):
		s.took(time.Now().Add(-longestQueue), errBusy)
		return errBusy
	}
}

var errBusy = errors.New("too many requests to the shared store wait for others")

func (s *Store) once(ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.bound)
	defer cancel()
	began := time.Now()
	err := ask(ctx)
	s.took(began, err)
	return err
}

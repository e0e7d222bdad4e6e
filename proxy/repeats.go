package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
	"b24proxy/proxy/replay"
)

// A repeatGuard keeps a write from running twice if its client repeats it because
// nobody received its result, and gives a meaning to the Idempotency-Key of version 2,
// which the portal ignores there (bitrix24/README.md#idempotency-keys).
type repeatGuard struct {
	memory       *replay.Memory // nil: it is off
	shared       SharedStore    // with replicas; may be nil
	ownKey       []byte         // of the sums, where there are no replicas
	applications *applications
	journal      journal
	observe      bool // every call is sent
}

// A StateStore keeps what must be known after a restart. Package statefile has one.
type StateStore interface {
	limiter.Persister
	replay.Store
	Key() []byte // stays the same as long as the store does
}

func newRepeatGuard(c *Config, apps *applications, j journal) *repeatGuard {
	g := &repeatGuard{ownKey: make([]byte, sha256.Size), applications: apps, journal: j, observe: c.Observe}
	if c.RepeatGuard == 0 {
		return g
	}
	rc := replay.Config{Window: c.RepeatGuard, Observe: c.Observe, Evicted: g.evicted, Warn: c.Log.Warn}
	rand.Read(g.ownKey)
	if c.StateFile != nil {
		rc.Store = c.StateFile
		g.ownKey = keyOfSums(c.StateFile.Key())
	}
	if c.Shared != nil && !c.Observe {
		g.shared, rc.Shared, rc.Encode = c.Shared, c.Shared, encodeAnswer
	}
	g.memory = replay.New(time.Now(), rc)
	return g
}

// keyOfSums makes the key of the sums out of one that also names credentials.
func keyOfSums(key []byte) []byte { return newSum(key, "repeats").Sum(nil) }

// key is the key of the sums: that of all replicas, so that each finds what another one
// has. Where a store comes later than this replica and has the key of others, the calls
// that came before have other sums: a write runs twice if its client repeats it just then.
func (g *repeatGuard) key() []byte {
	if g.shared != nil {
		return keyOfSums(g.shared.Key())
	}
	return g.ownKey
}

func (g *repeatGuard) evicted(portal string) {
	g.journal.Record(operator.RepeatSeen{Call: operator.Call{Portal: portal}, Result: metrics.Evicted})
}

// flush waits until the replicas know what became of the calls, for the given time at
// most.
func (g *repeatGuard) flush(wait time.Duration) {
	if g.shared != nil {
		g.memory.Flush(wait)
	}
}

// watches reports whether the repetition of a call is recognized: it is a write, and
// its portal does not do that itself.
func (g *repeatGuard) watches(ex *exchange, out *http.Request) bool {
	return g.memory != nil && mayWrite(ex, out) && !ex.repeatable
}

// mayWrite reports whether a call may change something, as far as its header shows.
// One for a signed file address reads (bitrix24/README.md#addresses).
func mayWrite(ex *exchange, r *http.Request) bool {
	c := ex.route.call
	isFile := r.Method == http.MethodGet && ex.cred.Kind == bitrix24.CredentialNone && strings.Contains("&"+ex.route.rawQuery(), "&token=")
	return c.REST() && !c.Read() && r.Method != http.MethodOptions && !isFile
}

// meet returns the answer to a call that repeats another one, or an error. It returns
// neither for a call that is to be sent.
func (g *repeatGuard) meet(req *http.Request, ex *exchange) (*http.Response, error) {
	if !g.watches(ex, req) {
		return nil, nil
	}
	key, failed := g.keyOf(ex, req)
	if failed != nil {
		return nil, failed
	}
	c, enough := g.call(ex, req, key), time.Now().Add(leavingTime)
	g.awaitLeaving(req.Context(), c)
	for {
		met := g.memory.MeetAll(req.Context(), enough, c)
		if met.Own != nil {
			g.begin(ex, req, met, key)
			return nil, nil
		}
		ex.write = &write{entry: met.First, repeats: true}
		if met.Verdict == replay.Join {
			if err := g.join(req, ex, met.First); err != nil {
				return nil, err
			}
		}
		if first := met.First.First(); met.Verdict == replay.Mismatch || first.Verdict != replay.Send {
			return g.answer(req, ex, met.Verdict, first)
		}
		ex.write = nil
	}
}

// leavingTime is how long the proxy waits to learn that the caller of an identical call
// has left. A client that gives up often sends the repetition before it closes the old
// connection. Two callers who both wait are rare, and one of them is late by so much.
const leavingTime = 100 * time.Millisecond

// awaitLeaving waits until the caller of an identical call has left, for a moment.
func (g *repeatGuard) awaitLeaving(caller context.Context, c replay.Call) {
	gone := g.memory.Twin(time.Now(), c)
	if gone == nil || g.observe {
		return
	}
	enough := time.NewTimer(leavingTime)
	defer enough.Stop()
	select {
	case <-gone:
	case <-enough.C:
	case <-caller.Done():
	}
}

// keyOf returns the Idempotency-Key of a call of version 2, or "".
func (g *repeatGuard) keyOf(ex *exchange, req *http.Request) (string, *failure) {
	key, isValid := idempotencyKey(req.Header)
	switch {
	case ex.route.call.Version != 2:
		return "", nil
	case !isValid && !g.observe:
		return "", newFailure(keyNotReadable)
	}
	return key, nil
}

// begin makes a call one that is sent and remembered.
func (g *repeatGuard) begin(ex *exchange, req *http.Request, met replay.Meeting, key string) {
	if met.Verdict != replay.Send {
		g.record(req, ex, repeatOf(met.Verdict, met.First.First().Verdict), met.First.First())
	}
	portal, cred := ex.route.portal, ex.cred
	ex.write = &write{entry: met.Own, learnNames: func() {
		if key != "" {
			met.Own.Alias(g.keySums(portal, cred, key))
		}
	}}
}

// join waits until the outcome of the call's first is known.
func (g *repeatGuard) join(req *http.Request, ex *exchange, first *replay.Entry) error {
	began, ctx := time.Now(), req.Context()
	defer func() { ex.portalTime += time.Since(began) }()
	patience, end := context.WithDeadline(ctx, ex.deadline) // it is for the wait for a slot, where the first may be still
	defer end()
	switch {
	case first.Await(patience):
		return nil
	case ctx.Err() == nil && !first.IsSent():
		return rejection(&limiter.Rejection{Reason: limiter.QueueWait, LongestWait: ex.deadline.Sub(ex.began), RetryAfter: time.Second})
	case first.Await(ctx):
		return nil
	}
	g.record(req, ex, metrics.Joined, first.First())
	if errors.Is(context.Cause(ctx), errStopped) {
		return newFailure(stoppedMeanwhile, time.Since(began).Seconds())
	}
	return context.Cause(ctx)
}

// answer answers the repetition of a call that ran, or may have.
func (g *repeatGuard) answer(req *http.Request, ex *exchange, v replay.Verdict, first replay.First) (*http.Response, error) {
	kept := keptAnswer(first.Answer, req, ex.route.call)
	if kept == nil && first.Verdict == replay.Replay { // a replica of another version has kept it
		first.Verdict, first.Why = replay.Hold, replay.Restart
	}
	result := repeatOf(v, first.Verdict)
	g.record(req, ex, result, first)
	switch result {
	case metrics.Mismatch:
		return nil, newFailure(keyOfAnotherCall)
	case metrics.Held:
		return nil, heldFor(first)
	}
	ex.answer = kept.meaning
	ex.write.deliver(req.Context())
	resp := kept.replayed(req)
	resp.Body = &deliveredBody{ReadCloser: resp.Body, caller: req.Context(), exchange: ex, closed: func() {}}
	return resp, nil
}

// repeatOf is what was done with a call, by the verdict on it when it came, and by the
// one when its first had ended.
func repeatOf(came, now replay.Verdict) metrics.Replay {
	switch {
	case came == replay.Mismatch:
		return metrics.Mismatch
	case came == replay.Join && now != replay.Hold:
		return metrics.Joined
	case came == replay.Replay && now == replay.Replay:
		return metrics.Replayed
	}
	return metrics.Held
}

func (g *repeatGuard) record(req *http.Request, ex *exchange, result metrics.Replay, first replay.First) {
	g.journal.Record(operator.RepeatSeen{
		Call: ex.call(req.Method), Result: result, FirstID: first.RequestID, FirstSent: first.Sent, Became: string(first.Why), IsSent: g.observe,
	})
}

// became says what became of a call, by the word for it. The others are codes of
// errors.
var became = map[replay.Why]string{
	replay.Why(bitrix24.ReasonReset):        "the connection to the portal broke before its answer",
	replay.Why(bitrix24.ReasonTimeout):      "the portal did not answer in time",
	replay.Why(bitrix24.ReasonHTML):         "the portal answered with an HTML page",
	replay.Why(bitrix24.ReasonEmpty):        "the portal's answer was empty",
	replay.Why(bitrix24.ReasonTruncated):    "the portal's answer broke off",
	replay.Why(bitrix24.ReasonNotJSON):      "the portal's answer was not one of the API",
	replay.Why(bitrix24.ReasonRedirect):     "the portal redirected it to another page",
	replay.Why(bitrix24.CategoryInternal):   "the proxy failed on it",
	replay.Restart:                          "the proxy was restarted meanwhile",
	replay.StoreAway:                        "another replica of the proxy has it, and the shared store is away",
	replay.TakenOver:                        "another replica of the proxy has sent it",
	replay.TooLarge:                         "its answer was too large to keep",
	replay.Evicted:                          "its answer had to make room for others",
	replay.Why(limiter.Draining):            "the proxy was stopped meanwhile",
	replay.Why(bitrix24.ReasonRedirectLoop): "the portal redirected it in a circle",
}

// heldFor returns the error for a call whose first ran, or may have.
func heldFor(first replay.First) *failure {
	text, known := became[first.Why]
	if !known {
		text = "the portal answered with the error " + string(first.Why)
	}
	if first.Outcome != replay.Unknown {
		text = "it ran, but " + text
	}
	return newFailure(callMayHaveRun, first.Sent.UTC().Format(time.DateTime), text)
}

// newSum begins a keyed hash of texts of a kind.
func newSum(key []byte, texts ...string) hash.Hash {
	sum := hmac.New(sha256.New, key)
	for _, text := range texts {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		io.WriteString(sum, text)
	}
	return sum
}

func sumOf(key []byte, texts ...string) replay.Sum { return replay.Sum(newSum(key, texts...).Sum(nil)) }

// call is what is remembered of a call. The token by which an application proves who
// it is counts as the application, since it changes every hour.
func (g *repeatGuard) call(ex *exchange, req *http.Request, key string) replay.Call {
	hashKey := g.key()
	query, head := bitrix24.WithoutToken(ex.route.call, ex.route.rawQuery(), req.Header.Get("Authorization"), req.Header.Get("Content-Type"), ex.body.head)
	body := ex.body.sum
	if body == nil {
		body = newSum(hashKey, "body")
		body.Write(head)
	}
	sum := sumOf(hashKey, "call", ex.route.portal, req.Method, ex.route.path, query, string(body.Sum(nil)))
	c := replay.Call{
		Portal: ex.route.portal, RequestID: ex.id, Sum: sum, IsIdempotent: ex.route.call.Idempotent(),
		HasGone: func() bool { return hasGone(req.Context()) },
	}
	for _, name := range g.names(ex.cred) {
		c.IDs = append(c.IDs, sumOf(hashKey, "id", name, string(sum[:])))
	}
	if key != "" {
		c.Keys = g.keySums(ex.route.portal, ex.cred, key)
	}
	return c
}

func (g *repeatGuard) keySums(portal string, cred bitrix24.Credential, key string) (sums []replay.Sum) {
	hashKey := g.key()
	for _, name := range g.names(cred) {
		sums = append(sums, sumOf(hashKey, "key", portal, name, key))
	}
	return sums
}

// names are those of a credential: its own, and that of its application where that is
// known.
func (g *repeatGuard) names(cred bitrix24.Credential) []string {
	own, application := cred.String(), g.applications.of(cred)
	if own == application {
		return []string{own}
	}
	return []string{own, application}
}

// bodySum returns the function that begins the sum of a body too large for memory, as
// it arrives; nil for a call that is not watched.
func (g *repeatGuard) bodySum(ex *exchange, r *http.Request) func(head []byte) hash.Hash {
	if g.memory == nil || !mayWrite(ex, r) {
		return nil
	}
	return func(head []byte) hash.Hash {
		_, head = bitrix24.WithoutToken(ex.route.call, ex.route.rawQuery(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), head)
		sum := newSum(g.key(), "body")
		sum.Write(head)
		return sum
	}
}

// takenOver returns the error for a call that waited at this replica, while that seemed
// dead, and that another one has sent.
func takenOver() *failure {
	return heldFor(replay.First{Sent: time.Now(), Outcome: replay.Unknown, Why: replay.TakenOver})
}

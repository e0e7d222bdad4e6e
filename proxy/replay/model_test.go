package replay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/replay"
	"b24proxy/proxy/replay/replaytest"
)

// A write is a call that was sent, as the reference remembers it.
type write struct {
	id                    string
	credential, call, key string
	replica               int
	own                   *replay.Entry // nil once its replica was killed
	sent, left            bool
	received              bool // by somebody
	served                bool // so that its own replica knows
	outcome               replay.Outcome
	success               bool
	answer                any
	settled               time.Time
}

// receive notes that somebody got the answer. Only then, or when its caller leaves, does
// the time begin for which an answer is kept.
func (w *write) receive() {
	if !w.left && !w.received {
		w.settled = time.Now()
	}
	w.received = true
}

func (w *write) isUnderWay() bool { return w.outcome == replay.UnderWay }

// isOpen reports whether its own caller is still there for the answer.
func (w *write) isOpen() bool { return w.outcome == replay.Answered && !w.left && !w.served }

// isOnItsWay reports whether the caller is still there for the answer.
func (w *write) isOnItsWay() bool { return w.outcome == replay.Answered && !w.left && !w.received }

func (w *write) isIdempotent() bool { return w.call == "update" }

// isNotRun reports whether it surely did not run, or might as well not have.
func (w *write) isNotRun() bool {
	return w.outcome == replay.NotRun || w.outcome == replay.Unknown && w.isIdempotent()
}

// rules is a reference that is written straight from the rules: it keeps every write in
// a list, and looks through all of them. It does not know of replicas.
type rules struct {
	window time.Duration
	writes []*write
}

// repeats reports whether a call repeats a write.
func (r *rules) repeats(now time.Time, w *write, credential, call, key string) bool {
	if w.isNotRun() || w.credential != credential {
		return false
	}
	age := now.Sub(w.settled)
	if key == "" {
		isMissed := w.left || w.outcome == replay.Unknown || w.outcome == replay.Ran
		return w.call == call && w.sent && isMissed && !w.received && (w.isUnderWay() || age < r.window)
	}
	switch {
	case w.key != key:
		return false
	case w.isUnderWay() || w.isOnItsWay():
		return true
	case w.outcome == replay.Answered && !w.success:
		return !w.received && age < r.window
	}
	return age < 24*time.Hour
}

// verdict is that on a call, and the write that it repeats: the one with this id, if
// there are several, else the oldest.
func (r *rules) verdict(now time.Time, credential, call, key, id string) (replay.Verdict, *write) {
	i := slices.IndexFunc(r.writes, func(w *write) bool {
		return (id == "" || id == w.id) && r.repeats(now, w, credential, call, key)
	})
	if i < 0 {
		return replay.Send, nil
	}
	switch w := r.writes[i]; {
	case w.call != call:
		return replay.Mismatch, w
	case w.isUnderWay():
		return replay.Join, w
	case w.outcome == replay.Answered && w.answer != nil:
		return replay.Replay, w
	default:
		return replay.Hold, w
	}
}

// restart is a kill: only calls that went out, and whose result nobody received, are
// remembered, and no answer.
func (r *rules) restart(now time.Time) {
	r.writes = slices.DeleteFunc(r.writes, func(w *write) bool {
		isOpen := w.isUnderWay() || w.isOnItsWay()
		if isOpen {
			w.outcome, w.settled = replay.Unknown, now
		}
		w.answer = nil
		return !w.sent || w.outcome == replay.NotRun || w.received || isOpen && w.isIdempotent()
	})
	for _, w := range r.writes {
		w.own, w.left = nil, true
	}
}

// kill is the end of one of several replicas. The others know what it knew, besides the
// outcome of what was under way there.
func (r *rules) kill(now time.Time, replica int) {
	for _, w := range r.writes {
		if w.replica != replica {
			continue
		}
		switch {
		case w.isUnderWay() && w.sent:
			w.outcome, w.settled, w.left = replay.Unknown, now, true
		case w.isUnderWay():
			w.outcome = replay.NotRun
		}
		w.own = nil
	}
}

// turns is a mutex for which synctest lets time pass.
type turns chan struct{}

func (t turns) Lock()   { t <- struct{}{} }
func (t turns) Unlock() { <-t }

// A game plays random calls on memories and on the reference.
type game struct {
	t        *testing.T
	random   *rand.Rand
	rules    rules
	store    replay.Notes       // of one memory
	shared   *replaytest.Memory // of several; nil: there is one
	memories []*replay.Memory
	killed   int
	mu       turns // for those who have joined
	waiting  int
	seen     map[replay.Verdict]int
}

func (g *game) one(of ...string) string { return of[g.random.IntN(len(of))] }

// call is a caller who comes to one of the memories.
func (g *game) call() {
	credential, call, key := g.one("a", "b"), g.one("add", "send", "update"), g.one("", "", "", "k", "l")
	g.meet(g.random.IntN(len(g.memories)), credential, call, key)
}

func (g *game) meet(replica int, credential, call, key string) {
	memory := g.memories[replica]
	c, found := replay.CallOf(credential, call, key), ""
	c.RequestID = fmt.Sprint(g.random.Uint64())
	met := memory.MeetAll(context.Background(), time.Now().Add(100*time.Millisecond), c)
	if met.First != nil && g.shared != nil { // a replica looks among its own calls first
		found = met.First.First().RequestID
	}
	want, first := g.rules.verdict(time.Now(), credential, call, key, found)
	g.seen[want]++
	if met.Verdict != want || (met.Own != nil) != (want == replay.Send) {
		g.t.Fatalf("%s %s %q: got verdict %v, want %v of %+v", credential, call, key, met.Verdict, want, first)
	}
	switch want {
	case replay.Send:
		g.rules.writes = append(g.rules.writes, &write{id: c.RequestID, credential: credential, call: call, key: key, replica: replica, own: met.Own})
	case replay.Replay:
		if got := met.First.First(); !isSame(got.Answer, first.answer) {
			g.t.Fatalf("got the answer %v, want %v", got.Answer, first.answer)
		}
		g.deliver(met.First, first)
	case replay.Join:
		g.join(replica, met.First, first, func() { g.meet(replica, credential, call, key) })
	}
}

// isSame compares an answer, which may have come from another replica.
func isSame(got, want any) bool {
	encoded, isEncoded := got.([]byte)
	return got == want || isEncoded && string(encoded) == string(encode(want))
}

func encode(answer any) []byte { return fmt.Append(nil, answer) }

// deliver gives a caller an answer, which he may leave before he has it.
func (g *game) deliver(e *replay.Entry, w *write) {
	if g.random.IntN(4) > 0 {
		e.Received(time.Now())
		w.receive()
		w.served = w.served || e == w.own
	}
}

// join waits in the manner of a caller, who may leave.
func (g *game) join(replica int, e *replay.Entry, w *write, again func()) {
	g.waiting++
	memory := g.memories[replica]
	patience := time.Duration(1+g.random.IntN(100)) * time.Second
	go func() {
		caller, leave := context.WithTimeout(context.Background(), patience)
		defer leave()
		isKnown := e.Await(caller)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
		if !isKnown || g.memories[replica] != memory { // the process is another one
			return
		}
		got := e.First()
		switch {
		case w.isNotRun():
			if got.Verdict != replay.Send {
				g.t.Errorf("the first did not run: got %v for who joined it, want Send", got.Verdict)
			}
			again()
		case w.outcome == replay.Answered && w.answer != nil:
			if got.Verdict != replay.Replay || !isSame(got.Answer, w.answer) {
				g.t.Errorf("got %+v for who joined, want the answer %v", got, w.answer)
			}
			g.deliver(e, w)
		default:
			if got.Verdict != replay.Hold {
				g.t.Errorf("outcome %v: got %v for who joined, want Hold", w.outcome, got.Verdict)
			}
		}
	}()
}

// some returns one of the writes that satisfy is, nil if none does.
func (g *game) some(is func(*write) bool) *write {
	i := g.random.IntN(len(g.rules.writes) + 1)
	for range g.rules.writes {
		i = (i + 1) % len(g.rules.writes)
		if w := g.rules.writes[i]; w.own != nil && is(w) {
			return w
		}
	}
	return nil
}

func (g *game) send() {
	if w := g.some(func(w *write) bool { return !w.sent && w.isUnderWay() }); w != nil {
		if !w.own.Sent(time.Now()) {
			g.t.Fatal("a call was taken over whose replica lives")
		}
		w.sent = true
	}
}

func (g *game) leave() {
	if w := g.some(func(w *write) bool { return w.sent && !w.left && !w.served && w.outcome != replay.NotRun }); w != nil {
		w.own.Left(time.Now())
		w.left = true
		if w.outcome == replay.Answered && !w.received {
			w.settled = time.Now()
		}
	}
}

func (g *game) receive() {
	if w := g.some((*write).isOpen); w != nil {
		w.own.Received(time.Now())
		w.receive()
		w.served = true
	}
}

func (g *game) settle() {
	w := g.some((*write).isUnderWay)
	if w == nil {
		return
	}
	w.outcome, w.settled = replay.NotRun, time.Now()
	if w.sent {
		w.outcome = []replay.Outcome{replay.NotRun, replay.Answered, replay.Answered, replay.Answered, replay.Ran, replay.Unknown}[g.random.IntN(6)]
	}
	if w.outcome == replay.Answered {
		w.success = g.random.IntN(3) > 0
		if g.random.IntN(4) > 0 && w.own.Grow(10) {
			w.answer = g.random.Int()
		}
	}
	w.own.Settle(time.Now(), replay.Result{Outcome: w.outcome, Success: w.success, Answer: w.answer, Why: "why"})
}

// begin makes a memory, of a replica where there are several.
func (g *game) begin() *replay.Memory {
	c := replay.Config{Window: g.rules.window, Encode: encode}
	if g.shared == nil {
		c.Store = g.store
	} else {
		c.Shared = g.shared.Replica(g.name(len(g.memories)))
	}
	return replay.New(time.Now(), c)
}

func (g *game) name(replica int) string { return fmt.Sprint(replica, " after ", g.killed) }

// restart kills a process and starts another one.
func (g *game) restart() {
	if g.shared == nil {
		g.memories = []*replay.Memory{g.begin()}
		g.rules.restart(time.Now())
		return
	}
	g.finish((*write).isOpen, g.receive)
	g.pass(time.Second) // who waits for a call of this replica learns what became of it
	replica := len(g.memories) - 1
	g.shared.Kill(g.name(replica))
	g.rules.kill(time.Now(), replica)
	g.killed++
	g.memories = g.memories[:replica]
	g.memories = append(g.memories, g.begin())
	g.pass(4 * time.Second) // then the others know that it is dead
}

// finish does something as long as there are writes that it is for.
func (g *game) finish(is func(*write) bool, do func()) {
	for g.some(is) != nil {
		do()
		g.pass(0)
	}
}

func (g *game) step() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch n := g.random.IntN(1000); {
	case n < 350:
		g.call()
	case n < 550:
		g.send()
	case n < 650:
		g.leave()
	case n < 800:
		g.settle()
	case n < 900:
		g.receive()
	case n < 996:
		g.pass(time.Duration(g.random.ExpFloat64() * float64(3*time.Second)))
	case n < 998:
		g.passHours()
	default:
		g.restart()
	}
}

func (g *game) pass(d time.Duration) {
	g.mu.Unlock()
	defer g.mu.Lock()
	time.Sleep(d)
	synctest.Wait()
}

// passHours lets some hours pass. A call that is under way for a day is not known after
// a restart, or to other replicas.
func (g *game) passHours() {
	for g.some(func(w *write) bool { return w.isUnderWay() || w.isOpen() }) != nil {
		g.finish((*write).isUnderWay, g.settle)
		g.finish((*write).isOpen, g.receive)
		g.pass(time.Second) // who has joined one that did not run sends it
	}
	g.pass(time.Duration(g.random.IntN(30)) * time.Hour)
}

// forget removes the writes that no rule knows any more.
func (g *game) forget() {
	g.rules.writes = slices.DeleteFunc(g.rules.writes, func(w *write) bool {
		if w.own != nil && w.isOpen() {
			return false
		}
		isOver := w.outcome == replay.NotRun || w.outcome == replay.Answered && w.received && (w.key == "" || !w.success)
		return isOver || w.outcome != replay.UnderWay && !w.isOnItsWay() && time.Since(w.settled) > 25*time.Hour
	})
}

// Whatever calls come, whoever leaves, repeats or is killed, and whatever becomes of
// the calls: the memory decides as the rules do, which the reference applies to a plain
// list of all writes. So do the memories of several replicas together. Nobody who joined
// a call waits for ever, and no entry and no byte of an answer stays when all is over.
func TestModel(t *testing.T) {
	const steps = 100_000
	for name, replicas := range map[string]int{"one memory": 1, "three replicas": 3} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, ", seed ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := &game{t: t, random: rand.New(rand.NewPCG(seed, 0)), rules: rules{window: time.Minute}, seen: map[replay.Verdict]int{}, mu: make(turns, 1)}
					if replicas == 1 {
						g.store = replay.Notes{}
					} else {
						g.shared = replaytest.NewMemory()
					}
					for range replicas {
						g.memories = append(g.memories, g.begin())
					}
					g.play(steps / 4 / replicas)
				})
			})
		}
	}
}

func (g *game) play(steps int) {
	t := g.t
	t.Helper()
	for range steps {
		g.step()
		synctest.Wait()
		g.mu.Lock()
		g.forget()
		g.mu.Unlock()
	}
	g.mu.Lock()
	g.passHours()
	g.pass(48 * time.Hour)
	for i, m := range g.memories {
		m.Meet(time.Now(), replay.CallOf("c", "last", "")).Own.Settle(time.Now(), replay.Result{Outcome: replay.NotRun})
		if entries, names, answers, bytes := m.Held(); entries != 0 || names != 0 || answers != 0 || bytes != 0 || g.waiting != 0 {
			t.Errorf("memory %d: got %d entries, %d names, %d bytes of %d answers, %d callers who wait, want none", i, entries, names, bytes, answers, g.waiting)
		}
	}
	if g.shared != nil && g.shared.Len() > 0 {
		t.Errorf("got %d calls that the replicas remember, want none", g.shared.Len())
	}
	for _, v := range []replay.Verdict{replay.Send, replay.Join, replay.Replay, replay.Hold, replay.Mismatch} {
		if least := steps / 250; g.seen[v] < least {
			t.Errorf("got %d calls with verdict %v, want %d to prove something", g.seen[v], v, least)
		}
	}
}

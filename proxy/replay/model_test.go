package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A write is a call that was sent, as the reference remembers it.
type write struct {
	credential, call, key string
	own                   *Entry
	sent, left, received  bool
	outcome               Outcome
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

// isOnItsWay reports whether the caller is still there for the answer.
func (w *write) isOnItsWay() bool { return w.outcome == Answered && !w.left && !w.received }

func (w *write) isIdempotent() bool { return w.call == "update" }

// rules is a reference that is written straight from the rules: it keeps every write in
// a list, and looks through all of them.
type rules struct {
	window time.Duration
	writes []*write
}

// repeats reports whether a call repeats a write.
func (r *rules) repeats(now time.Time, w *write, credential, call, key string) bool {
	if w.outcome == NotRun || w.outcome == Unknown && w.isIdempotent() || w.credential != credential {
		return false
	}
	age := now.Sub(w.settled)
	if key == "" {
		isMissed := w.left || w.outcome == Unknown || w.outcome == Ran
		return w.call == call && w.sent && isMissed && !w.received && (w.outcome == UnderWay || age < r.window)
	}
	switch {
	case w.key != key:
		return false
	case w.outcome == UnderWay || w.isOnItsWay():
		return true
	case w.outcome == Answered && !w.success:
		return !w.received && age < r.window
	}
	return age < 24*time.Hour
}

func (r *rules) verdict(now time.Time, credential, call, key string) (Verdict, *write) {
	i := slices.IndexFunc(r.writes, func(w *write) bool { return r.repeats(now, w, credential, call, key) })
	if i < 0 {
		return Send, nil
	}
	switch w := r.writes[i]; {
	case w.call != call:
		return Mismatch, w
	case w.outcome == UnderWay:
		return Join, w
	case w.outcome == Answered && w.answer != nil:
		return Replay, w
	default:
		return Hold, w
	}
}

// restart is a kill: only calls that went out, and whose result nobody received, are
// remembered, and no answer.
func (r *rules) restart(now time.Time) {
	r.writes = slices.DeleteFunc(r.writes, func(w *write) bool {
		isOpen := w.outcome == UnderWay || w.isOnItsWay()
		if isOpen {
			w.outcome, w.settled = Unknown, now
		}
		w.answer = nil
		return !w.sent || w.outcome == NotRun || w.received || isOpen && w.isIdempotent()
	})
	for _, w := range r.writes {
		w.own, w.left = nil, true
	}
}

// notes is a store in memory.
type notes map[string]struct {
	until time.Time
	text  string
}

func (n notes) SaveNote(id string, until time.Time, text string) error {
	n[id] = struct {
		until time.Time
		text  string
	}{until, text}
	return nil
}

func (n notes) RemoveNote(id string) error {
	delete(n, id)
	return nil
}

func (n notes) Notes() map[string]string {
	all := make(map[string]string)
	for id, note := range n {
		if time.Now().Before(note.until) {
			all[id] = note.text
		}
	}
	return all
}

func sum(s ...any) (made Sum) {
	copy(made[:], fmt.Sprint(s...))
	return made
}

func callOf(credential, call, key string) Call {
	c := Call{Portal: "p", RequestID: "r", Sum: sum(call), IDs: []Sum{sum(credential, call)}, IsIdempotent: call == "update"}
	if key != "" {
		c.Keys = []Sum{sum(credential, "key", key)}
	}
	return c
}

// A game plays random calls on a memory and on the reference.
type game struct {
	t       *testing.T
	random  *rand.Rand
	rules   rules
	store   notes
	memory  *Memory
	mu      sync.Mutex // for those who have joined
	waiting int
	seen    map[Verdict]int
}

func (g *game) one(of ...string) string { return of[g.random.IntN(len(of))] }

// call is a caller who comes.
func (g *game) call() {
	credential, call, key := g.one("a", "b"), g.one("add", "send", "update"), g.one("", "", "", "k", "l")
	g.meet(credential, call, key)
}

func (g *game) meet(credential, call, key string) {
	want, first := g.rules.verdict(time.Now(), credential, call, key)
	met := g.memory.Meet(time.Now(), callOf(credential, call, key))
	g.seen[want]++
	if met.Verdict != want || (met.Own != nil) != (want == Send) {
		g.t.Fatalf("%s %s %q: got verdict %v, want %v of %+v", credential, call, key, met.Verdict, want, first)
	}
	switch want {
	case Send:
		g.rules.writes = append(g.rules.writes, &write{credential: credential, call: call, key: key, own: met.Own})
	case Replay:
		if got := met.First.First(); got.Answer != first.answer {
			g.t.Fatalf("got the answer %v, want %v", got.Answer, first.answer)
		}
		g.deliver(met.First, first)
	case Join:
		g.join(met.First, first, func() { g.meet(credential, call, key) })
	}
}

// deliver gives a caller an answer, which he may leave before he has it.
func (g *game) deliver(e *Entry, w *write) {
	if g.random.IntN(4) > 0 {
		e.Received(time.Now())
		w.receive()
	}
}

// join waits in the manner of a caller, who may leave.
func (g *game) join(e *Entry, w *write, again func()) {
	g.waiting++
	patience := time.Duration(1+g.random.IntN(100)) * time.Second
	go func() {
		left := false
		select {
		case <-e.Done():
		case <-time.After(patience):
			left = true
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
		if left || e.memory != g.memory { // the process is another one
			return
		}
		got := e.First()
		switch {
		case w.outcome == NotRun || w.outcome == Unknown && w.isIdempotent():
			if got.Verdict != Send {
				g.t.Errorf("the first did not run: got %v for who joined it, want Send", got.Verdict)
			}
			again()
		case w.outcome == Answered && w.answer != nil:
			if got.Verdict != Replay || got.Answer != w.answer {
				g.t.Errorf("got %+v for who joined, want the answer %v", got, w.answer)
			}
			g.deliver(e, w)
		default:
			if got.Verdict != Hold {
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
	if w := g.some(func(w *write) bool { return !w.sent && w.outcome == UnderWay }); w != nil {
		w.own.Sent(time.Now())
		w.sent = true
	}
}

func (g *game) leave() {
	if w := g.some(func(w *write) bool { return w.sent && !w.left && !w.received && w.outcome != NotRun }); w != nil {
		w.own.Left(time.Now())
		w.left = true
		if w.outcome == Answered {
			w.settled = time.Now()
		}
	}
}

func (g *game) receive() {
	if w := g.some(func(w *write) bool { return !w.left && w.outcome == Answered && !w.received }); w != nil {
		w.own.Received(time.Now())
		w.receive()
	}
}

func (g *game) settle() {
	w := g.some(func(w *write) bool { return w.outcome == UnderWay })
	if w == nil {
		return
	}
	w.outcome, w.settled = NotRun, time.Now()
	if w.sent {
		w.outcome = []Outcome{NotRun, Answered, Answered, Answered, Ran, Unknown}[g.random.IntN(6)]
	}
	if w.outcome == Answered {
		w.success = g.random.IntN(3) > 0
		if g.random.IntN(4) > 0 && w.own.Grow(10) {
			w.answer = g.random.Int()
		}
	}
	w.own.Settle(time.Now(), Result{Outcome: w.outcome, Success: w.success, Answer: w.answer, Why: "why"})
}

func (g *game) restart() {
	g.memory = New(time.Now(), Config{Window: g.rules.window, Store: g.store})
	g.rules.restart(time.Now())
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
	case n < 998:
		g.pass(time.Duration(g.random.ExpFloat64() * float64(3*time.Second)))
	case n < 999:
		g.pass(time.Duration(g.random.IntN(30)) * time.Hour)
	default:
		g.restart()
	}
}

func (g *game) pass(d time.Duration) {
	g.mu.Unlock()
	defer g.mu.Lock()
	time.Sleep(d)
}

// forget removes the writes that no rule knows any more.
func (g *game) forget() {
	g.rules.writes = slices.DeleteFunc(g.rules.writes, func(w *write) bool {
		isOver := w.outcome == NotRun || w.outcome == Answered && w.received && (w.key == "" || !w.success)
		return isOver || w.outcome != UnderWay && !w.isOnItsWay() && time.Since(w.settled) > 25*time.Hour
	})
}

// Whatever calls come, whoever leaves, repeats or is killed, and whatever becomes of
// the calls: the memory decides as the rules do, which the reference applies to a plain
// list of all writes. Nobody who joined a call waits for ever, and no entry and no byte
// of an answer stays when all is over.
func TestModel(t *testing.T) {
	const steps = 100_000
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			g := &game{t: t, random: rand.New(rand.NewPCG(seed, 0)), rules: rules{window: time.Minute}, store: notes{}, seen: map[Verdict]int{}}
			g.restart()
			for range steps / 4 {
				g.step()
				synctest.Wait()
				g.forget()
			}
			for g.some(func(w *write) bool { return w.outcome == UnderWay }) != nil {
				g.mu.Lock()
				g.settle()
				g.mu.Unlock()
				synctest.Wait()
			}
			for g.some((*write).isOnItsWay) != nil {
				g.receive()
			}
			time.Sleep(48 * time.Hour)
			synctest.Wait()
			g.memory.Meet(time.Now(), callOf("c", "last", "")).Own.Settle(time.Now(), Result{Outcome: NotRun})
			if m := g.memory; m.entries != 0 || len(m.index) != 0 || m.bytes != 0 || m.answers.Len() != 0 || g.waiting != 0 {
				t.Errorf("got %d entries, %d names, %d bytes of %d answers, %d callers who wait, want none", m.entries, len(m.index), m.bytes, m.answers.Len(), g.waiting)
			}
			for _, v := range []Verdict{Send, Join, Replay, Hold, Mismatch} {
				if g.seen[v] < 100 {
					t.Errorf("got %d calls with verdict %v, want enough of each to prove something", g.seen[v], v)
				}
			}
		})
	}
}

package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// tenfold is the standard plan of an upstream that runs ten times as fast.
var tenfold = Plan{Rate: 20, Burst: 50}

// A fleet is replicas that share one Memory and call one upstream.
type fleet struct {
	t        *testing.T
	memory   *Memory
	ahead    atomic.Int64 // how far the store's clock is, in nanoseconds
	replicas []*Limiter
	delay    time.Duration // of a call on its way to the upstream, and of its answer
	wire     wire
	loses    atomic.Bool // each fifth answer
	syncs    atomic.Int64
	mu       sync.Mutex
	upstream counter
}

// A wire is what connects replicas with the store, each from its number. They beat
// four times a second, and count as absent when they have not for 0.6 s, as in
// package redisstore.
type wire struct {
	mu       sync.Mutex
	replicas int
	cuts     map[int][]cut
}

type cut struct{ from, to time.Time } // zero: it is not mended yet

func (c cut) at(t time.Time) bool { return !t.Before(c.from) && (c.to.IsZero() || t.Before(c.to)) }

// cut cuts replicas off, from their first on.
func (w *wire) cut(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cuts == nil {
		w.cuts = make(map[int][]cut)
	}
	for i := range n {
		w.cuts[i] = append(w.cuts[i], cut{from: time.Now()})
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cuts := range w.cuts {
		cuts[len(cuts)-1].to = time.Now()
	}
}

// lastBeat is when a replica reached the store before the given time.
func (w *wire) lastBeat(i int, t time.Time) time.Time {
	const every = 250 * time.Millisecond
	t = t.Truncate(every).Add(time.Duration(i)*every/time.Duration(w.replicas) - every)
	for slices.ContainsFunc(w.cuts[i], func(c cut) bool { return c.at(t) }) {
		t = t.Add(-every)
	}
	return t
}

// reach is the part of the limit that replicas have which reach the store, as far as
// one of them knows, or its error.
func (w *wire) reach(i int) (part float64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	beat := w.lastBeat(i, now)
	if cuts := w.cuts[i]; len(cuts) > 0 && beat.Before(cuts[len(cuts)-1].to) || len(cuts) > 0 && cuts[len(cuts)-1].to.IsZero() {
		last := cuts[len(cuts)-1]
		if now.Sub(last.from) >= AwayAfter {
			return 0, &Away{Since: last.from, Replicas: w.replicas, Cause: errors.New("cut off")}
		}
		return 0, errors.New("no answer")
	}
	present := 0
	for j := range w.replicas {
		if beat.Sub(w.lastBeat(j, beat)) <= 600*time.Millisecond {
			present++
		}
	}
	return float64(present) / float64(w.replicas), nil
}

// newFleet makes n replicas; their upstream ticks ten times a second.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t, delay: 20 * time.Millisecond, wire: wire{replicas: n}}
	f.memory = NewMemory(func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) })
	f.upstream = counter{plan: tenfold, tick: time.Now().Add(30 * time.Millisecond), speed: 10}
	for i := range n {
		f.replicas = append(f.replicas, New(Config{
			Plan: func(string) Plan { return tenfold }, Depth: 1000, Store: fleetStore{f, i, f.memory.Replica(fmt.Sprint(i))},
		}))
	}
	return f
}

// A fleetStore can be away, and counts what it is asked.
type fleetStore struct {
	fleet  *fleet
	number int
	store  Store
}

func (s fleetStore) Sync(r Report) (Reply, error) {
	n := s.fleet.syncs.Add(1)
	time.Sleep(time.Millisecond)
	part, err := s.fleet.wire.reach(s.number)
	if err != nil {
		return Reply{}, err
	}
	r.Part = part
	reply, err := s.store.Sync(r)
	if s.fleet.loses.Load() && n%5 == 0 {
		time.Sleep(SyncBound)
		return Reply{}, errors.New("lost")
	}
	return reply, err
}

func (f *fleet) goAway() { f.wire.cut(len(f.replicas)) }

func (f *fleet) arrive() (refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.upstream.arrive(time.Now())
}

// call makes one call until it is accepted, and returns how long it waited.
func (f *fleet) call(replica int, client string) time.Duration {
	f.t.Helper()
	began := time.Now()
	r := Request{Upstream: "u", Client: client, Wait: time.Hour}
	for {
		s, err := f.replicas[replica].Acquire(f.t.Context(), r)
		if err != nil {
			f.t.Errorf("replica %d: got %v, want a slot", replica, err)
			return 0
		}
		waited := time.Since(began)
		time.Sleep(f.delay)
		refused := f.arrive()
		time.Sleep(f.delay)
		if r.Refused = refused; !refused {
			s.Answered(Accepted)
			return waited
		}
		s.Answered(Refused)
	}
}

// all makes so many calls at once, evenly over the replicas, and returns how long
// they took.
func (f *fleet) all(n int) time.Duration {
	f.t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f.call(i%len(f.replicas), fmt.Sprint(i)) })
	}
	wg.Wait()
	return time.Since(began)
}

func (f *fleet) wantNoneRefused() {
	f.t.Helper()
	if n := f.upstream.refused; n > 0 {
		f.t.Errorf("got %d refusals, want none", n)
	}
}

// Replicas use the limit together as well as one would alone: none of their calls
// is refused, and all of them take hardly longer than the least possible time. The
// store is asked about once a call.
func TestReplicasKeepOneLimit(t *testing.T) {
	for n, used := range map[int]float64{1: 0.97, 2: 0.95, 5: 0.93} {
		t.Run(fmt.Sprintf("%d replicas", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, n)
				const calls = 250
				took := f.all(calls)
				least := seconds(float64(calls-tenfold.Burst) / tenfold.Rate)
				if float64(least) < used*float64(took) {
					t.Errorf("got %v, want %v at most: %v %% of the limit used", took, seconds(least.Seconds()/used), used*100)
				}
				f.wantNoneRefused()
				t.Logf("%v, %.1f %%, %.2f round trips a call", took, 100*float64(least)/float64(took), float64(f.syncs.Load())/calls)
				time.Sleep(time.Minute)
			})
		})
	}
}

// backlog has clients call again and again at a replica, and counts the calls that
// were accepted.
func (f *fleet) backlog(wg *sync.WaitGroup, until time.Time, replica int, client string, calls *atomic.Int64) {
	for range 20 {
		wg.Go(func() {
			for time.Now().Before(until) {
				f.call(replica, client)
				calls.Add(1)
			}
		})
	}
}

// Slots are shared by the clients that wait, not by the replicas at which they do,
// and not by their calls.
func TestReplicasShareByClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		var wg sync.WaitGroup
		var one, three, late atomic.Int64
		until := time.Now().Add(20 * time.Second)
		f.backlog(&wg, until, 0, "a", &one)
		for _, client := range []string{"b", "c", "d"} {
			f.backlog(&wg, until, 1, client, &three)
		}
		time.Sleep(10 * time.Second)
		waited := f.call(0, "quiet")
		late.Add(1)
		wg.Wait()
		if share := float64(three.Load()) / float64(one.Load()); share < 2.5 || share > 3.5 {
			t.Errorf("three clients at one replica had %d calls and one at the other %d, want three times as many", three.Load(), one.Load())
		}
		if waited > 500*time.Millisecond {
			t.Errorf("a quiet client waited %v, want about a call of each of the others", waited)
		}
		f.wantNoneRefused()
		time.Sleep(time.Minute)
	})
}

// One client with few calls at one replica waits for a slot or two, however many calls
// another client has in the queue of another replica. Both have a half of the slots while
// both want them.
func TestQuietClientBesideALongQueueElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		var wg sync.WaitGroup
		var greedy atomic.Int64
		for range 400 {
			wg.Go(func() {
				f.call(0, "greedy")
				greedy.Add(1)
			})
		}
		time.Sleep(5 * time.Second) // its burst is over
		slot := seconds(1 / tenfold.Rate)
		for range 20 {
			time.Sleep(217 * time.Millisecond)
			if waited := f.call(1, "quiet"); waited > 3*slot {
				t.Errorf("the quiet client waited %v, want %v at most", waited, 3*slot)
			}
		}
		before := greedy.Load()
		for range 50 {
			wg.Go(func() { f.call(1, "quiet") })
		}
		time.Sleep(50 * slot)
		if n := greedy.Load() - before; n < 22 || n > 28 {
			t.Errorf("while two clients wanted 50 slots, the one with the longer queue got %d, want a half", n)
		}
		wg.Wait()
		f.wantNoneRefused()
		time.Sleep(time.Minute)
	})
}

// Replicas that wait do not ask the store in step, also where they began together, their
// slots are far off, and the store has failed for all of them at once.
func TestReplicasDoNotAskInStep(t *testing.T) {
	for name, c := range map[string]struct {
		plan Plan
		fail bool
	}{
		"slots that are far off": {Plan{Rate: 0.1, Burst: 2}, false},
		"a store that fails":     {Standard, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := NewMemory(time.Now)
				asked := new(clockedStore)
				asked.fail = c.fail
				ctx, end := context.WithCancel(t.Context())
				for i := range 40 {
					l := New(Config{Plan: func(string) Plan { return c.plan }, Depth: 100, Store: asked.of(memory.Replica(fmt.Sprint(i)))})
					for range 5 {
						go l.Acquire(ctx, Request{Upstream: "u", Wait: time.Hour})
					}
				}
				time.Sleep(10 * time.Second)
				end()
				if most, all := asked.mostAtOnce(5*time.Millisecond, time.Now().Add(-5*time.Second)); most > 20 || all < 100 {
					t.Errorf("of %d requests %d came within 5 ms, want 20 at most", all, most)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// A clockedStore knows when it was asked.
type clockedStore struct {
	fail bool
	mu   sync.Mutex
	at   []time.Time
}

type clocked struct {
	*clockedStore
	store Store
}

func (c *clockedStore) of(s Store) Store { return clocked{c, s} }

func (c clocked) Sync(r Report) (Reply, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Now())
	c.mu.Unlock()
	if c.fail {
		return Reply{}, errors.New("no answer")
	}
	return c.store.Sync(r)
}

// mostAtOnce is how many requests came within a span at most, of those since a time.
func (c *clockedStore) mostAtOnce(span time.Duration, since time.Time) (most, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begin := 0
	for i, at := range c.at {
		if at.Before(since) {
			begin = i + 1
			continue
		}
		all++
		for at.Sub(c.at[begin]) > span {
			begin++
		}
		most = max(most, i-begin+1)
	}
	return most, all
}

// Whatever the calls, their delays and the replicas that they come to, none is
// refused.
func TestReplicasAreNeverRefused(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [4]int {
			return [4]int{
				rapid.IntRange(0, 4_000).Draw(t, "at"), rapid.IntRange(0, 400).Draw(t, "delay"),
				rapid.IntRange(0, 2).Draw(t, "replica"), rapid.IntRange(0, 3).Draw(t, "client"),
			}
		}), 1, 200).Draw(rt, "calls")
		var refused int
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 3)
			var wg sync.WaitGroup
			for _, c := range all {
				wg.Go(func() {
					time.Sleep(time.Duration(c[0]) * time.Millisecond)
					l := f.replicas[c[2]]
					s, err := l.Acquire(t.Context(), Request{Upstream: "u", Client: fmt.Sprint(c[3]), Wait: time.Hour})
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(c[1]) * time.Millisecond)
					f.arrive()
					time.Sleep(time.Duration(c[1]) * time.Millisecond)
					s.Answered(NoAnswer)
				})
			}
			wg.Wait()
			time.Sleep(time.Minute)
			refused = f.upstream.refused
		})
		if refused > 0 {
			rt.Errorf("%d calls were refused, want none", refused)
		}
	})
}

// A refusal at one replica holds all of them, and all learn of it.
func TestRefusalHoldsAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.call(1, "b")
		f.upstream.level = 70 // another program
		f.call(0, "a")
		if waited := f.call(1, "b"); waited < 40*time.Millisecond {
			t.Errorf("at the other replica a call waited %v, want it held: the limit is used up", waited)
		}
		for i, l := range f.replicas {
			if s, _ := l.State("u"); s.Level < 40 {
				t.Errorf("replica %d shows a level of %v, want it almost full", i, s.Level)
			}
		}
		time.Sleep(time.Minute)
	})
}

// A block that one replica meets holds all of them, one of them probes it, and they
// all go on when it is lifted.
func TestBlockHoldsAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		answer := func(replica int, o Outcome) Reason {
			s, err := f.replicas[replica].Acquire(t.Context(), Request{Upstream: "u", Wait: time.Hour})
			if err != nil {
				return reason(err)
			}
			s.Answered(o)
			time.Sleep(100 * time.Millisecond)
			return ""
		}
		answer(1, Accepted)
		answer(0, Overloaded)
		for i := range f.replicas {
			if got := answer(i, Accepted); got != Overload {
				t.Errorf("replica %d: got %q, want %s", i, got, Overload)
			}
		}
		time.Sleep(probeInterval)
		if got := answer(1, Overloaded); got != "" {
			t.Errorf("after a minute: got %s, want a probe", got)
		}
		if got := answer(0, Accepted); got != Overload {
			t.Errorf("at the other replica: got %q, want %s: one probes for all", got, Overload)
		}
		time.Sleep(probeInterval)
		for range 2 {
			for i := range f.replicas {
				if got := answer(i, Accepted); got != "" {
					t.Errorf("after the block was lifted, replica %d: got %s, want a slot", i, got)
				}
			}
		}
		time.Sleep(time.Minute)
	})
}

// A slot that was not used is given back soon or not at all: later it has drained, and
// giving it back would free a slot of others.
func TestUnusedSlotIsNotGivenBackLate(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		level float64
	}{
		"soon":   {500 * time.Millisecond, 41},
		"late":   {20 * time.Second, 41},
		"at all": {time.Hour, 41},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				s, err := f.replicas[0].Acquire(t.Context(), patient)
				if err != nil {
					t.Fatal(err)
				}
				s.Unsent()
				time.Sleep(c.after)
				other := f.memory.Replica("other")
				other.Sync(Report{Upstream: "u", Plan: tenfold, Want: 40})
				other.Sync(Report{Upstream: "u", Plan: tenfold})
				if s, err = f.replicas[0].Acquire(t.Context(), patient); err != nil {
					t.Fatal(err)
				}
				s.Answered(NoAnswer)
				if reply, _ := other.Sync(Report{Upstream: "u", Plan: tenfold}); reply.Known.Level < c.level-0.1 || reply.Known.Level > c.level {
					t.Errorf("got a level of %v, want %v", reply.Known.Level, c.level)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// Package storetest is what every limiter.Store must do. The tests of each store
// run it.
package storetest

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"b24proxy/limiter"
)

// A Harness is a store under test, with a clock that the tests set.
type Harness struct {
	Replica func(name string) limiter.Store
	Flush   func() // loses everything
	clock   *clock
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// New returns a harness for a store that reads its clock by now.
func New(open func(now func() time.Time) Harness) Harness {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h := open(c.Now)
	h.clock = c
	return h
}

const upstream = "acme.example"

// sync reports something of the standard plan unless the report has another.
func (h Harness) sync(t *testing.T, replica string, r limiter.Report) limiter.Reply {
	t.Helper()
	if r.Upstream == "" {
		r.Upstream = upstream
	}
	if r.Plan == limiter.Unlimited {
		r.Plan = limiter.Standard
	}
	reply, err := h.Replica(replica).Sync(r)
	if err != nil {
		t.Fatalf("got %v, want a reply", err)
	}
	return reply
}

func wants(calls, clients int) limiter.Report { return limiter.Report{Want: calls, Clients: clients} }

// Run checks a store. Each test opens one that has seen nothing yet.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for name, test := range contract {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func granted(t *testing.T, got limiter.Reply, want int) {
	t.Helper()
	if got.Granted != want {
		t.Errorf("got %d slots, want %d: %+v", got.Granted, want, got)
	}
}

func next(t *testing.T, got limiter.Reply, want time.Duration) {
	t.Helper()
	if off := got.Next - want; off.Abs() > 10*time.Microsecond {
		t.Errorf("the next slot is due after %v, want %v", got.Next, want)
	}
}

func level(t *testing.T, got limiter.Reply, want float64) {
	t.Helper()
	if math.Abs(got.Known.Level-want) > 0.001 {
		t.Errorf("got a level of %v, want %v", got.Known.Level, want)
	}
}

func (h Harness) pass(d time.Duration) { h.clock.now = h.clock.now.Add(d) }

// contract has what every store does, each with a test of it.
var contract = map[string]func(t *testing.T, h Harness){
	"a burst is granted, and then slots at the plan's rate": func(t *testing.T, h Harness) {
		first := h.sync(t, "a", wants(100, 1))
		granted(t, first, 49)
		next(t, first, 500*time.Millisecond)
		h.pass(100 * time.Millisecond)
		early := h.sync(t, "a", wants(51, 1)) // the calls have arrived now, and drain from here on
		granted(t, early, 0)
		next(t, early, 500*time.Millisecond)
		h.pass(500*time.Millisecond + 2*time.Microsecond)
		granted(t, h.sync(t, "a", wants(51, 1)), 1)
		h.pass(3 * time.Second)
		granted(t, h.sync(t, "a", wants(50, 1)), 6)
	},
	"each upstream has its own bucket": func(t *testing.T, h Harness) {
		granted(t, h.sync(t, "a", wants(49, 1)), 49)
		granted(t, h.sync(t, "a", limiter.Report{Upstream: "other.example", Want: 49}), 49)
	},
	"calls in flight at one replica hold the level up for all": func(t *testing.T, h Harness) {
		granted(t, h.sync(t, "a", wants(30, 1)), 30)
		h.pass(900 * time.Millisecond)
		held := h.sync(t, "b", wants(30, 1))
		granted(t, held, 19) // no call of a has arrived: nothing has drained
		h.sync(t, "a", limiter.Report{})
		h.pass(1010 * time.Millisecond)
		granted(t, h.sync(t, "a", limiter.Report{Want: 30}), 2)
	},
	"a replica that dies frees its calls when they have arrived": func(t *testing.T, h Harness) {
		granted(t, h.sync(t, "a", wants(49, 1)), 49)
		h.pass(1099 * time.Millisecond)
		level(t, h.sync(t, "b", limiter.Report{}), 49)
		h.pass(501 * time.Millisecond)
		level(t, h.sync(t, "b", limiter.Report{}), 48)
	},
	"slots that were not used are given back": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(10, 1))
		level(t, h.sync(t, "a", limiter.Report{InFlight: 6, Unsent: 4}), 6)
		level(t, h.sync(t, "a", limiter.Report{InFlight: 6, Unsent: 9}), 6)
	},
	"a refusal at one replica holds all and teaches all": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(5, 1))
		h.pass(time.Second)
		h.sync(t, "a", limiter.Report{Refused: 1, Since: 100 * time.Millisecond})
		held := h.sync(t, "b", wants(5, 1))
		granted(t, held, 0)
		level(t, held, 51) // the first refusal doubles nothing: the margin of the standard plan is at its widest
		h.pass(30 * time.Second)
		second := h.sync(t, "b", limiter.Report{Refused: 1, Accepted: 15, Since: time.Second})
		if second.Known.Share >= 2 || second.Known.Share < 0.2 || second.Known.Refusal != 0 {
			t.Errorf("after two refusals: got a share of %v and a refusal before %v, want a lower share", second.Known.Share, second.Known.Refusal)
		}
		h.pass(time.Second)
		other := h.sync(t, "a", wants(100, 1))
		if other.Known.Share != second.Known.Share || other.Known.Refusal.Round(time.Millisecond) != time.Second {
			t.Errorf("at the other replica: got %+v, want the share %v", other.Known, second.Known.Share)
		}
	},
	"an old refusal teaches nothing more": func(t *testing.T, h Harness) {
		h.sync(t, "a", limiter.Report{Refused: 1})
		h.pass(time.Second)
		first := h.sync(t, "a", limiter.Report{Refused: 1, Since: 10 * time.Millisecond})
		h.pass(10 * time.Millisecond)
		straggler := h.sync(t, "b", limiter.Report{Refused: 1, Since: 20 * time.Millisecond})
		if first.Known.Share != straggler.Known.Share || straggler.Known.Refusal == 0 {
			t.Errorf("got %+v after the refusal of a call sent before the last one, want the share %v", straggler.Known, first.Known.Share)
		}
	},
	"slots are shared by the clients that wait": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(100, 1))
		due := map[string]time.Duration{"a": 0, "b": 0}
		clients := map[string]int{"a": 1, "b": 3}
		got := map[string]int{}
		for range 4000 { // 40 s
			h.pass(10 * time.Millisecond)
			for replica := range due {
				if due[replica] -= 10 * time.Millisecond; due[replica] <= 0 {
					reply := h.sync(t, replica, wants(100, clients[replica]))
					got[replica] += reply.Granted
					due[replica] = reply.Next
				}
			}
		}
		if got["a"] < 18 || got["a"] > 22 || got["a"]+got["b"] < 76 {
			t.Errorf("in 40 s a replica with one client got %d slots and one with three %d, want 20 and 60", got["a"], got["b"])
		}
	},
	"a replica that does not come for its slots loses them": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(49, 1))
		h.sync(t, "gone", wants(100, 10))
		h.pass(1200 * time.Millisecond)
		reply := h.sync(t, "b", wants(100, 1))
		if reply.OtherCalls != 0 || reply.OtherClients != 0 {
			t.Errorf("got %+v, want nobody else waiting", reply)
		}
		next(t, reply, 400*time.Millisecond) // the calls of a have arrived after 1.1 s
	},
	"a store that has lost its writes believes the replicas": func(t *testing.T, h Harness) {
		known := h.sync(t, "a", wants(40, 1)).Known
		h.sync(t, "a", limiter.Report{})
		h.Flush()
		known.Share, known.Refusal, known.Margin = 1.5, 40*time.Second, 1
		reply := h.sync(t, "a", limiter.Report{Want: 100, Known: known})
		granted(t, reply, 9)
		if reply.Known.Version <= known.Version || reply.Known.Share != 1.5 || reply.Known.Refusal.Round(time.Millisecond) != 40*time.Second {
			t.Errorf("got %+v, want what the replica knew: %+v", reply.Known, known)
		}
		known.Level = 0
		level(t, h.sync(t, "b", limiter.Report{Known: known}), 49) // it is not lost any more
	},
	"a replica that was alone adds what it has sent": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(10, 1))
		level(t, h.sync(t, "b", limiter.Report{Rejoins: true, Alone: 7}), 17)
		level(t, h.sync(t, "b", limiter.Report{Rejoins: true, Known: limiter.Knowledge{Level: 30}}), 30)
		level(t, h.sync(t, "b", limiter.Report{Rejoins: true, Alone: 60}), 50)
	},
	"a clock that is set back neither frees slots nor stops all": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(100, 1))
		h.pass(-time.Hour)
		granted(t, h.sync(t, "a", wants(100, 1)), 0)
		h.pass(time.Second)
		granted(t, h.sync(t, "a", wants(100, 1)), 2)
		h.pass(3 * time.Second)
		granted(t, h.sync(t, "b", wants(100, 1)), 6)
	},
	"nobody learns a margin that is narrower than one knows it": func(t *testing.T, h Harness) {
		wide := limiter.Report{Plan: limiter.Plan{Rate: 20, Burst: 50}, Want: 100, Known: limiter.Knowledge{Margin: 8}}
		granted(t, h.sync(t, "a", wide), 42)
		wide.Known.Margin = 0
		if margin := h.sync(t, "b", wide).Known.Margin; margin != 8 {
			t.Errorf("got a margin of %d, want 8", margin)
		}
		wide.Refused = 1
		if margin := h.sync(t, "b", wide).Known.Margin; margin != 16 {
			t.Errorf("after a refusal at the plan's rate: got a margin of %d, want 16", margin)
		}
	},
	"replicas count as long as they report": func(t *testing.T, h Harness) {
		h.sync(t, "a", limiter.Report{})
		h.pass(30 * time.Second)
		if n := h.sync(t, "b", limiter.Report{}).Replicas; n != 2 {
			t.Errorf("got %d replicas, want 2", n)
		}
		h.pass(31 * time.Second)
		if n := h.sync(t, "b", limiter.Report{}).Replicas; n != 1 {
			t.Errorf("a minute after the other was seen: got %d replicas, want 1", n)
		}
	},
	"a level that calls in flight hold up is reported to be so": func(t *testing.T, h Harness) {
		if reply := h.sync(t, "a", wants(10, 1)); !reply.Held {
			t.Error("got a level that drains, want one held by the calls just granted")
		}
		if reply := h.sync(t, "b", limiter.Report{}); !reply.Held {
			t.Error("at the other replica: got a level that drains, want it held")
		}
		if reply := h.sync(t, "a", limiter.Report{InFlight: 3}); reply.Held {
			t.Error("got a held level, want one that drains: most of the calls were answered")
		}
	},
	"while the upstream is blocked one call a minute is granted": func(t *testing.T, h Harness) {
		h.sync(t, "a", limiter.Report{Block: limiter.BlockSeen})
		held := h.sync(t, "b", wants(3, 1))
		granted(t, held, 0)
		if !held.Blocked || held.ProbeIn != time.Minute || held.Next != 0 {
			t.Errorf("got %+v, want it blocked for a minute", held)
		}
		h.pass(time.Minute + time.Millisecond)
		granted(t, h.sync(t, "a", wants(3, 1)), 1)
		granted(t, h.sync(t, "b", wants(3, 1)), 0)
		h.sync(t, "a", limiter.Report{Block: limiter.ProbeUnsent})
		granted(t, h.sync(t, "b", wants(3, 1)), 1)
		h.sync(t, "b", limiter.Report{Block: limiter.BlockLifted})
		if free := h.sync(t, "a", wants(3, 1)); free.Granted != 3 || free.Blocked {
			t.Errorf("got %+v, want the block lifted", free)
		}
	},
	"the slots of an answer that was lost are taken back": func(t *testing.T, h Harness) {
		lost := wants(20, 1)
		lost.Number = 1
		granted(t, h.sync(t, "a", lost), 20)
		again := wants(20, 1)
		again.Number = 2
		level(t, h.sync(t, "a", again), 20)
		later := limiter.Report{InFlight: 20, Number: 3, Answered: 2}
		level(t, h.sync(t, "a", later), 20)
		h.sync(t, "a", limiter.Report{Want: 5, InFlight: 20, Number: 4, Answered: 3})
		h.pass(2 * time.Second) // the calls, and the slots that were lost, have drained for 0.9 s
		level(t, h.sync(t, "a", limiter.Report{Number: 5, Answered: 3}), 23.2)
		level(t, h.sync(t, "a", limiter.Report{InFlight: 24, Number: 6, Answered: 5}), 24)
		begun := limiter.Report{InFlight: 0, Number: 1}
		level(t, h.sync(t, "a", begun), 24) // a limiter that has begun anew
	},
	"a report that wants nothing is granted nothing": func(t *testing.T, h Harness) {
		reply := h.sync(t, "a", limiter.Report{Clients: 3})
		granted(t, reply, 0)
		next(t, reply, 0)
	},
	"versions count the reports": func(t *testing.T, h Harness) {
		before := h.sync(t, "a", limiter.Report{}).Known.Version
		if after := h.sync(t, "b", limiter.Report{}).Known.Version; after != before+1 || before != 1 {
			t.Errorf("got versions %d and %d, want 1 and 2", before, after)
		}
	},
	"a bucket that rests is empty again": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(49, 1))
		h.pass(30 * time.Second)
		level(t, h.sync(t, "a", limiter.Report{}), 0)
		granted(t, h.sync(t, "a", wants(100, 1)), 49)
	},
	"the plan that a report names is the one that counts": func(t *testing.T, h Harness) {
		granted(t, h.sync(t, "a", limiter.Report{Plan: limiter.Enterprise, Want: 300}), 246)
		h.sync(t, "a", limiter.Report{Plan: limiter.Standard})
		h.pass(100 * time.Second) // from 246 down by 2 a second
		level(t, h.sync(t, "a", limiter.Report{Plan: limiter.Standard}), 46)
	},
	"replicas that may be alone are left their part of the limit": func(t *testing.T, h Harness) {
		granted(t, h.sync(t, "a", wants(45, 1)), 45)
		h.sync(t, "a", limiter.Report{})
		half := limiter.Report{Part: 0.5}
		level(t, h.sync(t, "a", half), 20) // of 45, less the half of 49 slots that is another's
		h.pass(5 * time.Second)
		half.Want = 100
		reply := h.sync(t, "a", half)
		granted(t, reply, 9) // one a second, and 4 of the 24 were left
		next(t, reply, time.Second)
		if reply.Part != 0.5 {
			t.Errorf("got %v of the limit, want a half", reply.Part)
		}
		h.sync(t, "a", limiter.Report{Part: 0.5})
		h.pass(4 * time.Second)
		level(t, h.sync(t, "b", limiter.Report{}), 45) // since then one a second; the other is back, with 25 at most
	},
	"the time in which replicas may have gone alone counts by their part": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(49, 1))
		h.sync(t, "a", limiter.Report{})
		h.pass(10 * time.Second)
		level(t, h.sync(t, "a", limiter.Report{Part: 0.5}), 14) // 49 less 25 and 10
	},
	"a store that has lost writes takes a bucket for full as of then": func(t *testing.T, h Harness) {
		level(t, h.sync(t, "a", limiter.Report{Lost: 10 * time.Second}), 29)
		h.pass(4 * time.Second)
		level(t, h.sync(t, "b", limiter.Report{Lost: 14 * time.Second}), 21)
		h.pass(2 * time.Second)
		level(t, h.sync(t, "b", limiter.Report{Lost: time.Second}), 47)
	},
	"a clock that jumps ahead drains nothing": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(49, 1))
		h.sync(t, "a", limiter.Report{})
		h.sync(t, "b", limiter.Report{})
		h.pass(time.Hour)
		level(t, h.sync(t, "a", limiter.Report{Elapsed: 2 * time.Second}), 45)
		h.pass(time.Second)
		level(t, h.sync(t, "b", limiter.Report{Elapsed: 3 * time.Second}), 43)
		h.pass(time.Second)
		level(t, h.sync(t, "c", limiter.Report{}), 41)
	},
	"a replica that stood still takes no time from the others": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(49, 1))
		h.sync(t, "a", limiter.Report{})
		h.pass(10 * time.Second)
		level(t, h.sync(t, "b", limiter.Report{}), 29)
		h.pass(time.Second)
		level(t, h.sync(t, "a", limiter.Report{Elapsed: time.Second}), 29) // it did not feel ten of the seconds
		h.pass(time.Second)
		level(t, h.sync(t, "b", limiter.Report{}), 27)
	},
	"what other replicas wait for is reported": func(t *testing.T, h Harness) {
		h.sync(t, "a", wants(60, 4))
		h.sync(t, "b", wants(7, 2))
		if reply := h.sync(t, "c", wants(1, 1)); reply.OtherCalls != 18 || reply.OtherClients != 6 {
			t.Errorf("got %d calls of %d clients waiting elsewhere, want 18 of 6", reply.OtherCalls, reply.OtherClients)
		}
	},
}

// inexact keeps spans from being exactly those between two microseconds of the clock. A
// script's numbers may then differ in which comes first.
const inexact = 500 * time.Nanosecond

// RunAlike checks that a store does what limiter.Memory does, whatever is reported.
func RunAlike(t *testing.T, open func(t *testing.T, now func() time.Time) Harness) {
	t.Helper()
	opened := 0
	rapid.Check(t, func(rt *rapid.T) {
		h := New(func(now func() time.Time) Harness { return open(t, now) })
		h.Flush()
		memory := limiter.NewMemory(h.clock.Now)
		plan := rapid.SampledFrom([]limiter.Plan{limiter.Standard, limiter.Enterprise, {Rate: 20, Burst: 50}, {Rate: 0.5, Burst: 3}}).Draw(rt, "plan")
		opened++
		inFlight, number, reported := map[string]int{}, map[string]int64{}, map[string]time.Time{}
		for range rapid.IntRange(1, 40).Draw(rt, "reports") {
			h.pass(time.Duration(rapid.IntRange(1, 2_000_000).Draw(rt, "µs")) * time.Microsecond)
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "replica")
			r := limiter.Report{
				Upstream: upstream, Plan: plan,
				Want: rapid.IntRange(0, 60).Draw(rt, "want"), Clients: rapid.IntRange(1, 5).Draw(rt, "clients"),
				InFlight: rapid.IntRange(0, inFlight[name]).Draw(rt, "in flight"),
				Unsent:   rapid.IntRange(0, 3).Draw(rt, "unsent"), Accepted: rapid.IntRange(0, 9).Draw(rt, "accepted"),
				Refused: max(0, rapid.IntRange(-9, 2).Draw(rt, "refused")), Since: time.Duration(rapid.IntRange(1, 1500).Draw(rt, "since"))*time.Millisecond + inexact,
			}
			if rapid.IntRange(0, 3).Draw(rt, "blocks") == 0 {
				r.Block = limiter.BlockChange(rapid.IntRange(1, 3).Draw(rt, "block"))
			}
			if r.Rejoins = rapid.IntRange(0, 9).Draw(rt, "rejoins") == 0; r.Rejoins {
				r.Alone, r.Known.Level = float64(rapid.IntRange(0, 30).Draw(rt, "alone")), float64(rapid.IntRange(0, 30).Draw(rt, "level"))
			}
			if at, known := reported[name]; known && rapid.Bool().Draw(rt, "knows the time") {
				r.Elapsed = h.clock.now.Sub(at) + time.Duration(rapid.IntRange(-500, 100).Draw(rt, "elapsed"))*time.Millisecond + inexact
			}
			r.Part = rapid.SampledFrom([]float64{0, 1, 0.5, 1. / 3, 2. / 3}).Draw(rt, "part")
			if lost := rapid.IntRange(-3000, 1000).Draw(rt, "lost"); lost > 0 {
				r.Lost = time.Duration(lost)*time.Millisecond + inexact
			}
			reported[name] = h.clock.now
			number[name]++
			r.Number, r.Answered = number[name], number[name]-1-int64(rapid.IntRange(0, 5).Draw(rt, "lost")/5)
			got := h.sync(t, name, r)
			want, _ := memory.Replica(name).Sync(r)
			if !alike(got, want) {
				rt.Fatalf("report %+v:\n got %+v\nwant %+v", r, got, want)
			}
			inFlight[name] = r.InFlight + got.Granted
		}
	})
}

// alike compares what rounding leaves alike.
func alike(a, b limiter.Reply) bool {
	near := func(x, y float64) bool { return math.Abs(x-y) < 1e-4 }
	same := near(a.Known.Level, b.Known.Level) && near(a.Known.Share, b.Known.Share) && near(a.Next.Seconds(), b.Next.Seconds()) && near(a.Part, b.Part) &&
		near(a.ProbeIn.Seconds(), b.ProbeIn.Seconds()) && near(min(a.Known.Refusal.Seconds(), 1e6), min(b.Known.Refusal.Seconds(), 1e6))
	a.Known.Level, a.Known.Share, a.Known.Refusal, a.Next, a.ProbeIn, a.Part = b.Known.Level, b.Known.Share, b.Known.Refusal, b.Next, b.ProbeIn, b.Part
	return same && a == b
}

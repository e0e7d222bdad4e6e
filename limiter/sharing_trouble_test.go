package limiter

import (
	"testing"
	"testing/synctest"
	"time"
)

// What befalls the store or a replica in the middle of the load costs no call, and
// not a refusal.
func TestReplicasInTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(f *fleet)
		longest time.Duration
	}{
		"the store goes away and stays away":    {func(f *fleet) { f.goAway() }, 17 * time.Second}, // each has half of the limit, also when the other is done
		"answers of the store are lost":         {func(f *fleet) { f.loses.Store(true) }, 11 * time.Second},
		"the store loses all that it knows":     {func(f *fleet) { f.memory.Flush() }, 11 * time.Second},
		"the store goes away and comes back":    {func(f *fleet) { f.goAway(); time.Sleep(2 * time.Second); f.wire.mend() }, 12 * time.Second},
		"the store comes back without anything": {func(f *fleet) { f.goAway(); f.memory.Flush(); time.Sleep(2 * time.Second); f.wire.mend() }, 12 * time.Second},
		"the store's clock jumps ahead":         {func(f *fleet) { f.ahead.Store(int64(time.Hour)) }, 11 * time.Second},
		"the store's clock is set back":         {func(f *fleet) { f.ahead.Store(-int64(time.Hour)) }, 11 * time.Second},
		"one is cut off":                        {func(f *fleet) { f.wire.cut(1) }, 17 * time.Second},
		"one is cut off for a while":            {func(f *fleet) { f.wire.cut(1); time.Sleep(3 * time.Second); f.wire.mend() }, 12 * time.Second},
		"one is cut off for moments": {func(f *fleet) {
			for range 4 {
				f.wire.cut(1)
				time.Sleep(1100 * time.Millisecond)
				f.wire.mend()
				time.Sleep(time.Second)
			}
		}, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				go func() {
					time.Sleep(2 * time.Second)
					c.trouble(f)
				}()
				if took := f.all(250); took > c.longest {
					t.Errorf("the calls took %v, want %v at most", took, c.longest)
				}
				f.wantNoneRefused()
				time.Sleep(time.Minute)
			})
		})
	}
}

// Without the store replicas start with a share of the limit, and with buckets that
// the others may have used.
func TestReplicasStartWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.goAway()
		go func() {
			time.Sleep(4 * time.Second)
			if s := f.replicas[0].States()[0]; s.Rate != 10 || s.Lowered {
				t.Errorf("alone: got a rate of %v, lowered %v, want 10, which is half of the limit, and not lowered", s.Rate, s.Lowered)
			}
		}()
		f.all(100)
		f.wantNoneRefused()
		time.Sleep(time.Minute)
		if s := f.replicas[0].States()[0]; s.Rate != 20 {
			t.Errorf("at rest: got a rate of %v, want that of the plan, since the store may be back", s.Rate)
		}
	})
}

// A replica that dies while calls of it are in flight and others wait there does
// not slow the others down for more than a second or so.
func TestReplicaThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		dead := f.memory.Replica("dead")
		for range 3 {
			dead.Sync(Report{Upstream: "u", Plan: tenfold, Want: 500, Clients: 40})
		}
		if took := f.all(100); took > 6500*time.Millisecond {
			t.Errorf("100 calls after its 49 took %v, want 5 s, and the lease of its calls", took)
		}
		f.wantNoneRefused()
		time.Sleep(time.Minute)
	})
}

// Slots that come after the process stood still are not used.
func TestReplicaThatStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Plan: func(string) Plan { return Standard }, Depth: 10, Store: frozen{NewMemory(time.Now).Replica("a")}})
		if err := send(t.Context(), l, Request{Upstream: "u", Wait: 10 * time.Second}); reason(err) != QueueWait {
			t.Errorf("got %v, want %s", err, QueueWait)
		}
		time.Sleep(2 * time.Minute)
	})
}

// frozen is a store whose answers come a minute after they were given.
type frozen struct{ Store }

func (f frozen) Sync(r Report) (Reply, error) {
	reply, err := f.Store.Sync(r)
	time.Sleep(time.Minute)
	return reply, err
}

package replay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/replay"
	"b24proxy/proxy/replay/replaytest"
)

// inFleet plays a test with memories that share one store.
func inFleet(t *testing.T, play func(t *testing.T, shared *replaytest.Memory, replica func(name string) *replay.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shared := replaytest.NewMemory()
		play(t, shared, func(name string) *replay.Memory {
			return replay.New(time.Now(), replay.Config{Window: time.Minute, Shared: shared.Replica(name), Encode: encode})
		})
	})
}

func meet(m *replay.Memory, c replay.Call) replay.Meeting {
	return m.MeetAll(context.Background(), time.Now().Add(100*time.Millisecond), c)
}

// sent makes a call that is added and goes out.
func sent(t *testing.T, m *replay.Memory, c replay.Call) *replay.Entry {
	t.Helper()
	e := meet(m, c).Own
	if e == nil || !e.Sent(time.Now()) {
		t.Fatal("got a repetition, want a call that is sent")
	}
	return e
}

// answered makes it a call that was answered.
func answered(t *testing.T, e *replay.Entry) {
	t.Helper()
	if !e.Grow(100) {
		t.Fatal("got no room for an answer")
	}
	e.Settle(time.Now(), replay.Result{Outcome: replay.Answered, Success: true, Answer: "it"})
	synctest.Wait()
}

func wantVerdict(t *testing.T, got replay.Meeting, want replay.Verdict) {
	t.Helper()
	if got.Verdict != want {
		t.Errorf("got verdict %v, want %v", got.Verdict, want)
	}
}

var plain, keyed = replay.CallOf("c", "add", ""), replay.CallOf("c", "add", "k")

// That a caller has left may be noticed first by a repetition at the same replica. The
// others know it then, also where the call is still being compared with theirs.
func TestLeavingIsNoticedByARepetition(t *testing.T) {
	for name, isBusy := range map[string]bool{"when it was added": false, "while it waits for that": true} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, _ *replaytest.Memory, replica func(string) *replay.Memory) {
				t.Helper()
				a, b, c := replica("a"), replica("b"), replica("c")
				if isBusy {
					sent(t, c, plain) // b waits until it knows that this caller is there
				}
				var hasLeft atomic.Bool
				call := plain
				call.HasGone = hasLeft.Load
				go meet(b, call)
				time.Sleep(10 * time.Millisecond)
				hasLeft.Store(true)
				wantVerdict(t, meet(b, plain), replay.Join)
				time.Sleep(time.Second)
				wantVerdict(t, meet(a, plain), replay.Join)
			})
		})
	}
}

// leaving is a store during whose answer the caller leaves.
type leaving struct {
	replay.Shared
	leave func()
}

func (l leaving) MeetWrite(own replay.Record, since time.Duration) (replay.Record, bool, error) {
	first, wait, err := l.Shared.MeetWrite(own, since)
	l.leave()
	return first, wait, err
}

// Neither is it missed while the store answers.
func TestLeavingIsNoticedWhileTheStoreAnswers(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		var m *replay.Memory
		call, hasLeft := plain, false
		call.HasGone = func() bool { return hasLeft }
		m = replay.New(time.Now(), replay.Config{Window: time.Minute, Shared: leaving{shared.Replica("a"), func() {
			hasLeft = true
			m.Meet(time.Now(), plain)
		}}})
		meet(m, call)
		synctest.Wait()
		wantVerdict(t, meet(replica("b"), plain), replay.Join)
	})
}

// A name of who uses a key that becomes known with the answer is known to the others.
func TestNameOfAKeyIsShared(t *testing.T) {
	inFleet(t, func(t *testing.T, _ *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		e := sent(t, a, keyed)
		e.Alias(replay.CallOf("application", "add", "k").Keys)
		synctest.Wait()
		wantVerdict(t, meet(b, replay.CallOf("application", "add", "k")), replay.Join)
	})
}

// A replica that dies while it gives a caller the answer leaves that for its repetition.
func TestReplicaDiesWithAnAnswerOnItsWay(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		answered(t, sent(t, a, keyed))
		shared.Kill("a")
		for _, c := range []replay.Call{plain, keyed} {
			met := meet(b, c)
			wantVerdict(t, met, replay.Replay)
			if met.First != nil && !isSame(met.First.First().Answer, "it") {
				t.Errorf("got %+v, want the answer", met.First.First())
			}
		}
	})
}

// A call that may run twice is sent for who repeats it, if its replica dies.
func TestReplicaDiesWithACallThatMayRunTwice(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		update := replay.CallOf("c", "update", "")
		sent(t, a, update)
		shared.Kill("a")
		wantVerdict(t, meet(b, update), replay.Send)
	})
}

// An answer that has to make room at its replica is gone for the others, too.
func TestEvictedAnswerIsGoneForAll(t *testing.T) {
	inFleet(t, func(t *testing.T, _ *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		for i := range 300 {
			e := sent(t, a, replay.CallOf("c", fmt.Sprint(i), ""))
			e.Grow(replay.MaxAnswer)
			e.Left(time.Now())
			answered(t, e)
		}
		met := meet(b, replay.CallOf("c", "0", ""))
		wantVerdict(t, met, replay.Hold)
		if met.First != nil && met.First.First().Why != replay.Evicted {
			t.Errorf("got %+v, want it evicted", met.First.First())
		}
		wantVerdict(t, meet(b, replay.CallOf("c", "299", "")), replay.Replay)
	})
}

// Calls that come and end while the store is away do not wait for it. Those that are
// under way, or may have run, are told to it when it is back.
func TestWhatTheStoreMissed(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		before := sent(t, a, replay.CallOf("c", "before", ""))
		shared.SetAway(true)
		for i := range 1000 {
			e := sent(t, a, replay.CallOf("c", fmt.Sprint(i), ""))
			answered(t, e)
			e.Received(time.Now())
		}
		before.Left(time.Now())
		sent(t, a, plain).Left(time.Now())
		time.Sleep(time.Minute)
		if n := a.Unsaved(); n > 2 {
			t.Errorf("got %d entries that wait for the store, want 2 at most", n)
		}
		shared.SetAway(false)
		a.Flush(10 * time.Second)
		wantVerdict(t, meet(b, replay.CallOf("c", "before", "")), replay.Join)
		wantVerdict(t, meet(b, plain), replay.Join)
		wantVerdict(t, meet(b, replay.CallOf("c", "7", "")), replay.Send)
	})
}

// What is saved is saved once, or twice where a request begins between two changes.
func TestRequestsForARepetition(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a := replica("a")
		e := sent(t, a, plain) // adds it, and says that it goes out
		e.Left(time.Now())
		synctest.Wait()
		answered(t, e)
		met := meet(a, plain) // asks whether another replica gave the answer
		wantVerdict(t, met, replay.Replay)
		met.First.Received(time.Now())
		synctest.Wait()
		if n := shared.Requests(); n < 6 || n > 7 {
			t.Errorf("got %d requests, want 6 or 7", n)
		}
	})
}

// What a store has lost it is told again by the replicas that know it: a lost write is
// held at another one, and an answer to a key is given there.
func TestCallsThatTheStoreLostAreSavedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		call    replay.Call
		settle  replay.Result
		verdict replay.Verdict
	}{
		"one that may have run":       {plain, replay.Result{Outcome: replay.Unknown, Why: "reset"}, replay.Hold},
		"one with a key, answered":    {keyed, replay.Result{Outcome: replay.Answered, Success: true, Answer: "it"}, replay.Replay},
		"one with a key that was not": {keyed, replay.Result{}, replay.Join},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
				t.Helper()
				a, b := replica("a"), replica("b")
				e := sent(t, a, c.call)
				if c.settle.Outcome != replay.UnderWay {
					e.Grow(100)
					e.Settle(time.Now(), c.settle)
					e.Received(time.Now())
				}
				synctest.Wait()
				shared.Flush()
				synctest.Wait()
				wantVerdict(t, meet(b, c.call), c.verdict)
			})
		})
	}
}

// Who waits for a call that the store has lost, and whose replica does not tell it again,
// does not take it for one that did not run.
func TestALostCallIsNotTakenForOneThatDidNotRun(t *testing.T) {
	inFleet(t, func(t *testing.T, shared *replaytest.Memory, replica func(string) *replay.Memory) {
		t.Helper()
		a, b := replica("a"), replica("b")
		sent(t, a, keyed)
		met := meet(b, keyed)
		wantVerdict(t, met, replay.Join)
		shared.Kill("a")
		shared.Forget()
		if !met.First.Await(t.Context()) || met.First.First().Verdict != replay.Hold {
			t.Errorf("got %+v, want it held", met.First.First())
		}
	})
}

package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newTest makes a limiter with the same plan for all upstreams.
func newTest(p Plan, depth int) *Limiter {
	return New(Config{Plan: func(string) Plan { return p }, Depth: depth})
}

// send acquires a slot and has its call answered at once.
func send(ctx context.Context, l *Limiter, r Request) error {
	s, err := l.Acquire(ctx, r)
	if err == nil {
		s.Answered(Accepted)
	}
	return err
}

// reason is why a call was rejected, or what else went wrong.
func reason(err error) Reason {
	if r, ok := errors.AsType[*Rejection](err); ok {
		return r.Reason
	}
	return Reason(fmt.Sprint(err))
}

var patient = Request{Upstream: "u", Wait: time.Hour}

// A burst is sent at once, the other calls at the plan's rate.
func TestCallsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		start := time.Now()
		var wg sync.WaitGroup
		for range 149 {
			wg.Go(func() {
				if err := send(t.Context(), l, patient); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start).Round(10 * time.Millisecond); took != 50*time.Second {
			t.Errorf("149 calls took %v, want 50s: 49 at once and 100 at 2 per second", took)
		}
		synctest.Wait() // the dispatcher ends, else synctest reports a deadlock
	})
}

// On an unlimited plan no call waits.
func TestUnlimitedPlanNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Unlimited, 1)
		start := time.Now()
		for range 1000 {
			if err := send(t.Context(), l, patient); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("1000 calls took %v, want no time", took)
		}
	})
}

// Callers who leave while they wait spend nothing: the next one is served as if
// they had never come.
func TestCallersWhoLeaveSpendNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		for range 49 {
			send(t.Context(), l, patient)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				if err := send(ctx, l, patient); !errors.Is(err, gone) {
					t.Errorf("got %v, want the cause of the context", err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		cancel(gone)
		wg.Wait()
		time.Sleep(10 * time.Second)
		for range 20 {
			send(t.Context(), l, patient)
		}
		start := time.Now()
		send(t.Context(), l, patient)
		if waited := time.Since(start); waited > 510*time.Millisecond || waited == 0 {
			t.Errorf("the 21st call waited %v, want 0.4 s: after 10.1 s 20 slots are due", waited)
		}
	})
}

// A caller who leaves at the very moment when a slot is due spends nothing.
func TestCallersWhoLeaveWhenTheSlotIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 1000)
		send(t.Context(), l, patient)
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			send(ctx, l, patient)
			cancel()
		}
		if level := l.States()[0].Level; level > 1 {
			t.Errorf("got a level of %v, want 1 at most", level)
		}
	})
}

// As many calls wait as Depth allows, and the next one is rejected.
func TestQueueHasADepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 3)
		ctx, cancel := context.WithCancel(t.Context())
		for range 1 + 3 {
			go send(ctx, l, patient)
		}
		synctest.Wait()
		if _, err := l.Acquire(ctx, patient); reason(err) != QueueFull {
			t.Errorf("got %v, want %s", err, QueueFull)
		}
		cancel()
		synctest.Wait()
	})
}

// A call that takes a place in a full queue takes it from another client's call.
func TestQuietClientDisplacesAGreedyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 3)
		ctx, cancel := context.WithCancel(t.Context())
		rejected := 0
		for range 1 + 3 {
			go func() {
				if reason(send(ctx, l, Request{Upstream: "u", Client: "greedy", Wait: time.Hour})) == QueueFull {
					rejected++
				}
			}()
		}
		synctest.Wait()
		go send(ctx, l, Request{Upstream: "u", Client: "quiet", Wait: time.Hour})
		synctest.Wait()
		if s, _ := l.State("u"); s.Waiting[0] != 3 || rejected != 1 {
			t.Errorf("%d wait and %d were rejected, want 3 and 1", s.Waiting[0], rejected)
		}
		cancel()
		synctest.Wait()
	})
}

// A call that the upstream refused is sent first, once the upstream can surely
// take it.
func TestRefusedCallGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		s, _ := l.Acquire(t.Context(), patient)
		var order []string
		var mu sync.Mutex
		ask := func(name string, refused bool) {
			send(t.Context(), l, Request{Upstream: "u", Wait: time.Hour, Refused: refused})
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
		}
		s.Answered(Refused)
		start := time.Now()
		go ask("late", false)
		synctest.Wait()
		ask("refused", true)
		if waited := time.Since(start); waited < time.Second || waited > 2*time.Second {
			t.Errorf("the refused call waited %v, want 1 to 2 s: until a tick has surely passed", waited)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if fmt.Sprint(order) != "[refused late]" {
			t.Errorf("got the order %v, want [refused late]", order)
		}
	})
}

// Close rejects the calls that wait and those that come.
func TestCloseRejectsAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 10)
		send(t.Context(), l, patient)
		done := make(chan error)
		go func() { done <- send(t.Context(), l, patient) }()
		synctest.Wait()
		l.Close()
		if err := <-done; reason(err) != Draining {
			t.Errorf("the call that waited got %v, want %s", err, Draining)
		}
		for _, upstream := range []string{"u", "new"} {
			if _, err := l.Acquire(t.Context(), Request{Upstream: upstream}); reason(err) != Draining {
				t.Errorf("%s: got %v, want %s", upstream, err, Draining)
			}
		}
	})
}

// In an hour callers come, leave, are refused and send nothing: each gets one
// answer, and nothing is left over in the end.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 5, Burst: 20}, 50)
		var wg sync.WaitGroup
		for i := range 20_000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i*7919%3_600_000) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*31%400)*time.Millisecond)
				defer cancel()
				s, err := l.Acquire(ctx, Request{Upstream: "u", Client: fmt.Sprint(i % 7), Urgency: i % 8, Wait: time.Duration(i*17%300) * time.Millisecond, Refused: i%11 == 0})
				if err != nil {
					return
				}
				switch i % 5 {
				case 0:
					s.Unsent()
				case 1:
					s.Answered(Refused)
				default:
					time.Sleep(time.Duration(i%100) * time.Millisecond)
					s.Answered(Accepted)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		for _, s := range l.States() {
			if s.Level != 0 || s.Waiting != [urgencies]int{} {
				t.Errorf("got %+v, want nothing in the bucket and nobody in the queue", s)
			}
		}
	})
}

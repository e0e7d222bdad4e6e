package limiter

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

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

// A burst leaves at once, the rest at the plan's rate.
func TestAcquirePaces(t *testing.T) {
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
			t.Errorf("149 calls took %v, want 49 at once and 100 at 2/s", took)
		}
		synctest.Wait() // the dispatcher ends, else synctest reports a deadlock
	})
}

// An unlimited plan never waits.
func TestAcquireUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Unlimited, 1)
		start := time.Now()
		for range 1000 {
			if err := send(t.Context(), l, patient); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(start) > 0 {
			t.Error("waited")
		}
	})
}

// Callers who leave while they wait spend nothing: the next one is served as
// if they had never come.
func TestAcquireAbandoned(t *testing.T) {
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
					t.Errorf("got %v, want the cause", err)
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
			t.Errorf("after 10.1 s 20 slots are due and the 21st 0.4 s later; waited %v", waited)
		}
	})
}

// A caller who leaves at the very moment of his turn passes it on.
func TestAcquireAbandonedWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 1000)
		send(t.Context(), l, patient)
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			send(ctx, l, patient)
			cancel()
		}
		if level := l.States()[0].Level; level > 1 {
			t.Errorf("level %v", level)
		}
	})
}

// The wait is foretold: who is not patient enough is refused at once, with a
// time after which it would do.
func TestAcquireForetells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		for range 49 + 60 {
			go send(ctx, l, patient)
		}
		synctest.Wait()
		start := time.Now()
		_, err := l.Acquire(ctx, Request{Upstream: "u", Wait: 25 * time.Second})
		if reason(err) != QueueWait || time.Since(start) > 0 {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		var r *Rejection
		if errors.As(err, &r) && (r.RetryAfter < 5*time.Second || r.RetryAfter > 6*time.Second) {
			t.Errorf("retry after %v, but the wait is 30.5 s", r.RetryAfter)
		}
		if err := send(ctx, l, Request{Upstream: "u", Wait: 31 * time.Second}); err != nil {
			t.Errorf("a wait of 30.5 s is within 31: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// As many wait as may, and one more is refused.
func TestAcquireDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 3)
		ctx, cancel := context.WithCancel(t.Context())
		for range 1 + 3 {
			go send(ctx, l, patient)
		}
		synctest.Wait()
		if _, err := l.Acquire(ctx, patient); reason(err) != QueueFull {
			t.Errorf("got %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// A newcomer who takes a place in a full queue takes it from another.
func TestAcquireDisplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 3)
		ctx, cancel := context.WithCancel(t.Context())
		refused := 0
		for range 1 + 3 {
			go func() {
				if reason(send(ctx, l, Request{Upstream: "u", Client: "greedy", Wait: time.Hour})) == QueueFull {
					refused++
				}
			}()
		}
		synctest.Wait()
		go send(ctx, l, Request{Upstream: "u", Client: "quiet", Wait: time.Hour})
		synctest.Wait()
		if s, _ := l.State("u"); s.Waiting[0] != 3 || refused != 1 {
			t.Errorf("%d wait, %d were refused", s.Waiting[0], refused)
		}
		cancel()
		synctest.Wait()
	})
}

// Who would wait exactly as long as it takes is not refused.
func TestAcquireWithJustEnoughPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		for range 49 {
			send(t.Context(), l, patient)
		}
		var r *Rejection
		if _, err := l.Acquire(t.Context(), Request{Upstream: "u"}); !errors.As(err, &r) {
			t.Fatalf("got %v", err)
		}
		for missing, want := range map[time.Duration]Reason{0: "", 1: QueueWait} {
			refused := l.WouldReject(Request{Upstream: "u", Wait: r.RetryAfter - missing})
			if (refused == nil) != (want == "") {
				t.Errorf("with %v less than the wait: %v", missing, refused)
			}
		}
	})
}

// An observer says which calls would have found the queue full, and of an
// upstream without a limit that none would.
func TestObserverForetellsAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for plan, want := range map[Plan]string{Standard: "49 at once, 5 waiting, 6 refused", Unlimited: "60 at once, 0 waiting, 0 refused"} {
			l := New(Config{Plan: func(string) Plan { return plan }, Depth: 5, Observe: true})
			t.Cleanup(l.Close)
			atOnce, waiting, refused := 0, 0, 0
			for range 60 {
				s, _ := l.Acquire(t.Context(), patient)
				switch {
				case s.WouldReject != nil && s.WouldReject.Reason == QueueFull:
					refused++
				case s.EstimatedWait > 0:
					waiting++
				default:
					atOnce++
				}
			}
			if got := fmt.Sprintf("%d at once, %d waiting, %d refused", atOnce, waiting, refused); got != want {
				t.Errorf("%v: %s, want %s", plan, got, want)
			}
		}
	})
}

// A refused caller holds nothing, and one with a slot holds the upstream until
// its answer.
func TestAcquirePins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 0)
		s, _ := l.Acquire(t.Context(), patient)
		if _, err := l.Acquire(t.Context(), patient); reason(err) != QueueFull {
			t.Fatalf("got %v", err)
		}
		if n := l.lines["u"].pins.Load(); n != 1 {
			t.Errorf("%d callers hold the upstream, want 1", n)
		}
		if s.Answered(Accepted); l.lines["u"].pins.Load() != 0 {
			t.Error("after the answer it is still held")
		}
	})
}

// A refused call goes first, once the upstream can surely take it.
func TestAcquireAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		s, _ := l.Acquire(t.Context(), patient)
		var order []string
		var mu sync.Mutex
		ask := func(name string, again bool) {
			send(t.Context(), l, Request{Upstream: "u", Wait: time.Hour, Refused: again})
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
			t.Errorf("waited %v: a tick is a second off at most", waited)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if fmt.Sprint(order) != "[refused late]" {
			t.Errorf("order %v", order)
		}
	})
}

// Close answers those who wait and those who come.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 10)
		send(t.Context(), l, patient)
		done := make(chan error)
		go func() { done <- send(t.Context(), l, patient) }()
		synctest.Wait()
		l.Close()
		if err := <-done; reason(err) != Draining {
			t.Errorf("the one who waited got %v", err)
		}
		for _, upstream := range []string{"u", "new"} {
			if _, err := l.Acquire(t.Context(), Request{Upstream: upstream}); reason(err) != Draining {
				t.Errorf("%s: got %v", upstream, err)
			}
		}
	})
}

// Slots given back let a queue run dry at once, as when nothing can be reached.
func TestUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Plan{Rate: 1, Burst: 1}, 100)
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), patient)
				if err != nil {
					t.Error(err)
					return
				}
				s.Unsent()
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}

// Upstreams at rest are forgotten: a hundred thousand names leave no trace, and
// no goroutine.
func TestIdleUpstreamsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		before := runtime.NumGoroutine()
		for i := range 100_000 {
			send(t.Context(), l, Request{Upstream: fmt.Sprint(i), Wait: time.Second})
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(l.States()); n > 3*firstSweep {
			t.Errorf("%d upstreams are kept", n)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines more", n-before)
		}
	})
}

// Upstreams at rest are looked for when so many are known, not at each new one.
func TestIdleUpstreamsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10)
		for i := range firstSweep {
			send(t.Context(), l, Request{Upstream: fmt.Sprint(i)})
			time.Sleep(time.Minute)
		}
		if n := len(l.lines); n != firstSweep {
			t.Errorf("%d upstreams are known, want %d", n, firstSweep)
		}
		send(t.Context(), l, Request{Upstream: "one more"})
		if n := len(l.lines); n != 1 {
			t.Errorf("then %d, want 1", n)
		}
	})
}

// An hour of callers who come, leave, are refused and send nothing: each gets
// one answer, and at the end nothing is left over.
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
				t.Errorf("at rest: %+v", s)
			}
		}
	})
}

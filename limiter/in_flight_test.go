package limiter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bounded makes a limiter of an unlimited upstream that bounds the calls in flight.
func bounded(inFlight, depth int) *Limiter {
	return New(Config{Plan: func(string) Plan { return Unlimited }, Depth: depth, InFlight: inFlight})
}

// As many calls are in flight as InFlight allows, and no fewer while others wait.
func TestCallsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bounded(3, 100)
		var wg sync.WaitGroup
		var mu sync.Mutex
		inFlight, most := 0, 0
		began := time.Now()
		for range 30 {
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), patient)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inFlight++
				most = max(most, inFlight)
				mu.Unlock()
				time.Sleep(time.Second)
				s.Answered(Accepted)
				time.Sleep(time.Second) // its answer is still on its way
				mu.Lock()
				inFlight--
				mu.Unlock()
				s.Done()
				s.Done()
			})
		}
		wg.Wait()
		if took := time.Since(began); most != 3 || took != 20*time.Second {
			t.Errorf("%d were in flight at once and all took %v, want 3 and 20s", most, took)
		}
	})
}

// Calls wait for the end of another one as they wait for a slot.
func TestCallsWaitForCallsInFlight(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"a call that does not wait is rejected at once": func(t *testing.T) {
			l := bounded(1, 100)
			l.Acquire(t.Context(), patient)
			began := time.Now()
			_, err := l.Acquire(t.Context(), Request{Upstream: "u"})
			if took := time.Since(began); reason(err) != QueueWait || took > 0 {
				t.Errorf("got %v after %v, want %s at once", err, took, QueueWait)
			}
		},
		"a call waits as long as it accepts": func(t *testing.T) {
			l := bounded(1, 100)
			l.Acquire(t.Context(), patient)
			began := time.Now()
			_, err := l.Acquire(t.Context(), Request{Upstream: "u", Wait: 3 * time.Second})
			if took := time.Since(began); reason(err) != QueueWait || took != 3*time.Second {
				t.Errorf("got %v after %v, want %s after 3s", err, took, QueueWait)
			}
		},
		"the depth bounds the calls that wait, and Close ends their wait": func(t *testing.T) {
			l := bounded(1, 2)
			l.Acquire(t.Context(), patient)
			waiting := make(chan error, 2)
			for range 2 {
				go func() { waiting <- send(t.Context(), l, patient) }()
			}
			synctest.Wait()
			if _, err := l.Acquire(t.Context(), patient); reason(err) != QueueFull {
				t.Errorf("with two waiting: got %v, want %s", err, QueueFull)
			}
			l.Close()
			for range 2 {
				if err := <-waiting; reason(err) != Draining {
					t.Errorf("when the limiter closes: got %v, want %s", err, Draining)
				}
			}
		},
		"a quiet client does not wait behind a greedy one": func(t *testing.T) {
			l := bounded(1, 100)
			first, _ := l.Acquire(t.Context(), patient)
			var order []string
			for range 5 {
				go serve(t, l, &order, "greedy")
				synctest.Wait()
			}
			go serve(t, l, &order, "quiet")
			synctest.Wait()
			first.Done()
			synctest.Wait()
			if len(order) != 6 || order[1] != "quiet" {
				t.Errorf("got the order %v, want the quiet client second", order)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// serve makes one call and notes when it was sent.
func serve(t *testing.T, l *Limiter, order *[]string, client string) {
	t.Helper()
	s, err := l.Acquire(t.Context(), Request{Upstream: "u", Client: client, Urgency: 3, Wait: time.Hour})
	if err != nil {
		t.Error(err)
		return
	}
	*order = append(*order, client)
	s.Answered(Accepted)
	s.Done()
}

// However a call ends, another may be sent for it.
func TestEndOfACallMakesRoomForAnother(t *testing.T) {
	free := func(t *testing.T, l *Limiter) {
		t.Helper()
		synctest.Wait()
		s, err := l.Acquire(t.Context(), Request{Upstream: "u"})
		if err != nil {
			t.Fatalf("got %v, want a slot: no call is in flight", err)
		}
		s.Done()
		if n := l.lines["u"].inFlight; n != 0 {
			t.Errorf("got %d calls in flight, want none", n)
		}
	}
	for name, leave := range map[string]func(t *testing.T, l *Limiter){
		"a call that was not sent": func(t *testing.T, l *Limiter) {
			s, _ := l.Acquire(t.Context(), patient)
			s.Unsent()
			s.Done()
		},
		"a call without an answer": func(t *testing.T, l *Limiter) {
			s, _ := l.Acquire(t.Context(), patient)
			s.Answered(NoAnswer)
			s.Done()
		},
		"a caller who had left before": func(t *testing.T, l *Limiter) {
			gone, leave := context.WithCancel(t.Context())
			leave()
			if _, err := l.Acquire(gone, patient); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		},
		"a caller who left in the queue": func(t *testing.T, l *Limiter) {
			s, _ := l.Acquire(t.Context(), patient)
			gone, leave := context.WithCancel(t.Context())
			go l.Acquire(gone, patient)
			synctest.Wait()
			leave()
			synctest.Wait()
			s.Done()
		},
		"a refused call, which waits again": func(t *testing.T, l *Limiter) {
			s, _ := l.Acquire(t.Context(), patient)
			s.Answered(Refused)
			s.Done()
			repeated := patient
			repeated.Refused = true
			s, err := l.Acquire(t.Context(), repeated)
			if err != nil {
				t.Fatal(err)
			}
			s.Answered(Accepted)
			s.Done()
			time.Sleep(2 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bounded(1, 100)
				leave(t, l)
				free(t, l)
			})
		})
	}
}

// A line with calls in flight is not forgotten, else a new line would not count
// them.
func TestLineWithCallsInFlightIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bounded(1, 100)
		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Accepted)
		time.Sleep(time.Hour)
		l.dropIdleLocked()
		if _, err := l.Acquire(t.Context(), Request{Upstream: "u"}); reason(err) != QueueWait {
			t.Errorf("beside a call whose answer is still on its way: got %v, want %s", err, QueueWait)
		}
		s.Done()
		l.dropIdleLocked()
		if len(l.lines) != 0 {
			t.Error("a line without calls is kept, want it dropped")
		}
	})
}

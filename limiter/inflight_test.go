package limiter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bounded makes a limiter of an unlimited upstream with so many places.
func bounded(places, depth int) *Limiter {
	return New(Config{Plan: func(string) Plan { return Unlimited }, Depth: depth, InFlight: places})
}

// So many calls are under way as there are places, and no fewer while others
// wait.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bounded(3, 100)
		var wg sync.WaitGroup
		var mu sync.Mutex
		under, most := 0, 0
		began := time.Now()
		for range 30 {
			wg.Go(func() {
				s, err := l.Acquire(t.Context(), patient)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				under++
				most = max(most, under)
				mu.Unlock()
				time.Sleep(time.Second)
				s.Answered(Accepted)
				time.Sleep(time.Second) // its answer still passes
				mu.Lock()
				under--
				mu.Unlock()
				s.Done()
				s.Done()
			})
		}
		wg.Wait()
		if took := time.Since(began); most != 3 || took != 20*time.Second {
			t.Errorf("%d were under way at once and all took %v; want 3 and 20s", most, took)
		}
	})
}

// Places are waited for as slots are.
func TestInFlightQueue(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"a caller without patience is refused at once": func(t *testing.T) {
			l := bounded(1, 100)
			l.Acquire(t.Context(), patient)
			began := time.Now()
			_, err := l.Acquire(t.Context(), Request{Upstream: "u"})
			if reason(err) != QueueWait || time.Since(began) > 0 {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
		},
		"a caller waits as long as his patience": func(t *testing.T) {
			l := bounded(1, 100)
			l.Acquire(t.Context(), patient)
			began := time.Now()
			_, err := l.Acquire(t.Context(), Request{Upstream: "u", Wait: 3 * time.Second})
			if reason(err) != QueueWait || time.Since(began) != 3*time.Second {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
		},
		"the depth bounds those who wait, and a drain ends their wait": func(t *testing.T) {
			l := bounded(1, 2)
			l.Acquire(t.Context(), patient)
			waiting := make(chan error, 2)
			for range 2 {
				go func() { waiting <- send(t.Context(), l, patient) }()
			}
			synctest.Wait()
			if _, err := l.Acquire(t.Context(), patient); reason(err) != QueueFull {
				t.Errorf("with two waiting: %v", err)
			}
			l.Close()
			for range 2 {
				if err := <-waiting; reason(err) != Draining {
					t.Errorf("when the limiter closes: %v", err)
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
				t.Errorf("served in the order %v, want the quiet client second", order)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

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

// A place comes back from whoever leaves, whichever way.
func TestInFlightComesBack(t *testing.T) {
	free := func(t *testing.T, l *Limiter) {
		t.Helper()
		synctest.Wait()
		s, err := l.Acquire(t.Context(), Request{Upstream: "u"})
		if err != nil {
			t.Fatalf("the place is lost: %v", err)
		}
		s.Done()
		if l.lines["u"].inFlight != 0 {
			t.Errorf("%d places are held by nobody", l.lines["u"].inFlight)
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
		"a caller who left before he came": func(t *testing.T, l *Limiter) {
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
			again := patient
			again.Refused = true
			s, err := l.Acquire(t.Context(), again)
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

// A line whose calls are under way is not forgotten, else another would hold
// its own places beside.
func TestInFlightIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bounded(1, 100)
		s, _ := l.Acquire(t.Context(), patient)
		s.Answered(Accepted)
		time.Sleep(time.Hour)
		l.dropIdleLocked()
		if _, err := l.Acquire(t.Context(), Request{Upstream: "u"}); reason(err) != QueueWait {
			t.Errorf("beside a call whose answer still passes: %v", err)
		}
		s.Done()
		l.dropIdleLocked()
		if len(l.lines) != 0 {
			t.Error("a line without calls is kept")
		}
	})
}

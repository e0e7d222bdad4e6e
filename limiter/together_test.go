package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// takeAll takes along the calls of the slot's group, at most n.
func takeAll(s *Slot, n int) (riders []any) {
	s.Take(func(rider any) bool { riders = append(riders, rider); return true }, func() bool { return len(riders) >= n })
	return riders
}

// exhaust spends the slots that are due at once.
func exhaust(t *testing.T, l *Limiter) {
	t.Helper()
	for range Standard.Burst - Standard.margin() {
		if err := send(t.Context(), l, patient); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever gets a slot takes along the calls of its group. They get no slot, and calls of
// other groups, or of none, wait for one.
func TestTakeTakesTheGroupAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		exhaust(t, l)
		var taken, alone, other int
		var mu sync.Mutex
		for i := range 60 {
			r := Request{Upstream: "u", Client: fmt.Sprint(i % 3), Wait: time.Hour, Group: []string{"g", "h", ""}[i%3], Rider: i}
			go func() {
				s, err := l.Acquire(t.Context(), r)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrTaken) && r.Group == "g":
					taken++
				case err == nil && r.Group == "g":
					alone++
					for _, rider := range takeAll(s, 9) {
						if rider.(int)%3 != 0 {
							t.Errorf("got call %v taken along, want none of another group", rider)
						}
					}
					s.Answered(Accepted)
				case err == nil:
					other++
					s.Answered(Accepted)
				default:
					t.Error(err)
				}
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if taken != 18 || alone != 2 || other != 40 {
			t.Errorf("got %d calls taken along with %d slots, and %d others, want 18 with 2, and 40", taken, alone, other)
		}
	})
}

// Calls are offered in fair order: the urgent ones of a client first, the clients in
// turn, and what the upstream refused before all others.
func TestTakeOffersInFairOrder(t *testing.T) {
	var q queue
	add := func(name, client string, urgency int, refused bool) {
		w := &waiter{client: client, urgency: urgency, refused: refused, group: "g", rider: name}
		q.push(w)
	}
	for i := range 3 {
		add(fmt.Sprint("a", i), "a", 3, false)
	}
	add("b0", "b", 3, false)
	add("b urgent", "b", 0, false)
	add("refused", "a", 7, true)
	q.push(&waiter{client: "a", urgency: 0, group: "other"})
	var got []any
	for w := range q.ofGroup("g") {
		got = append(got, w.rider)
		q.takeAlong(w)
	}
	if want := []any{"refused", "a0", "b urgent", "a1", "b0", "a2"}; !slices.Equal(got[:2], want[:2]) || len(got) != len(want) || slices.Index(got, "b urgent") > slices.Index(got, "b0") {
		t.Errorf("got the order %v, want one such as %v", got, want)
	}
	if q.length != 1 {
		t.Errorf("got %d calls left, want the one of the other group", q.length)
	}
}

// Two clients of one group with a backlog get as many calls along.
func TestTakeIsFairAmongClients(t *testing.T) {
	var q queue
	for range 1000 {
		q.push(&waiter{client: "a", urgency: 3, group: "g"})
		q.push(&waiter{client: "b", urgency: 3, group: "g"})
	}
	served := map[string]int{}
	for range 20 {
		served[q.pop().client]++
		n := 0
		for w := range q.ofGroup("g") {
			if n++; n == 50 {
				break
			}
			served[w.client]++
			q.takeAlong(w)
		}
	}
	if d := served["a"] - served["b"]; d < -60 || d > 60 {
		t.Errorf("got %v, want about as many of each", served)
	}
}

// A quiet client beside a greedy one waits for as many slots as it would if the greedy
// one's calls had no group.
func TestQuietClientWaitsNoLongerBesideAGroup(t *testing.T) {
	for name, quietGroup := range map[string]string{"of the same group": "g", "of another group": "h", "without a group": ""} {
		t.Run(name, func(t *testing.T) {
			worst := func(group, quietGroup string) (worst time.Duration) {
				synctest.Test(t, func(t *testing.T) {
					l := newTest(Standard, 10_000)
					exhaust(t, l)
					ctx, cancel := context.WithCancel(t.Context())
					for range 3000 {
						go func() {
							if s, err := l.Acquire(ctx, Request{Upstream: "u", Client: "greedy", Urgency: 3, Wait: time.Hour, Group: group}); err == nil {
								takeAll(s, 49)
								s.Answered(Accepted)
							}
						}()
					}
					for range 10 {
						time.Sleep(1700 * time.Millisecond)
						began := time.Now()
						s, err := l.Acquire(ctx, Request{Upstream: "u", Client: "quiet", Urgency: 3, Wait: time.Hour, Group: quietGroup})
						if err == nil {
							s.Answered(Accepted)
						}
						worst = max(worst, time.Since(began))
					}
					cancel()
				})
				return worst
			}
			if with, without := worst("g", quietGroup), worst("", ""); with > without {
				t.Errorf("got a wait of %v, want at most %v as without groups", with, without)
			}
		})
	}
}

// A caller who has left is not offered, and one who leaves after being taken along
// learns that.
func TestTakeAndCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 1000)
		exhaust(t, l)
		left, leave := context.WithCancel(t.Context())
		r := Request{Upstream: "u", Wait: time.Hour, Group: "g"}
		errs := make(chan error, 2)
		go func() {
			s, err := l.Acquire(t.Context(), r)
			if err == nil {
				takeAll(s, 49)
				leave() // one that has been taken
				s.Answered(Accepted)
			}
			errs <- err
		}()
		synctest.Wait()
		go func() { _, err := l.Acquire(left, r); errs <- err }()
		gone, goNow := context.WithCancel(t.Context())
		go func() {
			if _, err := l.Acquire(gone, r); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v for a caller who left, want the cause", err)
			}
		}()
		synctest.Wait()
		goNow()
		time.Sleep(time.Minute)
		if first, second := <-errs, <-errs; first != nil && second != nil || !errors.Is(errors.Join(first, second), ErrTaken) {
			t.Errorf("got %v and %v, want a slot and %v", first, second, ErrTaken)
		}
		if n := l.Clients("u"); len(n) != 0 {
			t.Errorf("got %v in the queue, want nobody", n)
		}
	})
}

// Calls that share slots wait less than their number says, so more of them may come.
func TestEstimateCountsOneSlotForSeveralCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTest(Standard, 10_000)
		exhaust(t, l)
		var rejected, served int
		var mu sync.Mutex
		for range 900 {
			go func() {
				s, err := l.Acquire(t.Context(), Request{Upstream: "u", Wait: time.Minute, Group: "g"})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrTaken):
					served++
				case err != nil:
					rejected++
				default:
					served++
					takeAll(s, 49)
					s.Answered(Accepted)
				}
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if served != 900 || rejected != 0 {
			t.Errorf("got %d calls served and %d rejected within a minute, want all 900 served", served, rejected)
		}
	})
}

// Without groups a call needs a slot. With them the number is learned from how many left
// together while others stayed.
func TestSlotsPerCall(t *testing.T) {
	var q queue
	if got := q.slots(7); got != 7 {
		t.Errorf("got %d slots for 7 calls of no group, want 7", got)
	}
	for range 100 {
		q.push(&waiter{group: "g"})
	}
	if got := q.slots(100); got != 4 {
		t.Errorf("got %d slots for 100 calls of a group that nobody has seen, want 4", got)
	}
	for range 20 {
		q.together.took(50)
	}
	if got := q.slots(100); got != 2 && got != 3 {
		t.Errorf("got %d slots for 100 calls after batches of 50, want 2 or 3", got)
	}
	for range 100 {
		q.push(&waiter{client: "other"})
	}
	if got := q.slots(200); got < 102 || got > 103 {
		t.Errorf("got %d slots for these and 100 of no group, want 102 or 103", got)
	}
}

// A call that was taken along in vain is served before the others of its client, and not
// before those of another client.
func TestEarlyCallGoesFirstOfItsClient(t *testing.T) {
	var q queue
	for range 5 {
		q.push(&waiter{client: "a", urgency: 3})
		q.push(&waiter{client: "b", urgency: 3})
	}
	early := &waiter{client: "b", urgency: 3, early: true}
	q.push(early)
	if got := q.aheadOfFirst("b"); got != 1 {
		t.Errorf("got %d calls ahead, want 1", got)
	}
	if first, second := q.pop(), q.pop(); first.client != "a" || second != early {
		t.Errorf("got calls of %s and %s, want one of a and the early one", first.client, second.client)
	}
}

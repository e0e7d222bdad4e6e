package limiter

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// add puts a call in the queue.
func (q *queue) add(client string, urgency int) *waiter {
	w := &waiter{client: client, urgency: urgency}
	q.push(w)
	return w
}

// Calls of one client at one urgency are served in the order in which they came.
func TestQueueKeepsTheOrder(t *testing.T) {
	var q queue
	var want []*waiter
	for range 20 {
		want = append(want, q.add("a", 3))
	}
	for i, w := range want {
		if q.pop() != w {
			t.Fatalf("got another call at place %d, want the one that came then", i)
		}
	}
}

// Clients that are due at the same time are served in the order in which they came.
func TestQueueSettlesTiesByAge(t *testing.T) {
	var q queue
	var want []*waiter
	for i := range 20 {
		want = append(want, q.add(string(rune('a'+i*7%20)), 3))
	}
	for i, w := range want {
		if got := q.pop(); got != w {
			t.Fatalf("got client %s at place %d, want %s", got.client, i, w.client)
		}
	}
}

// The urgency of a client's first call counts as that of its later ones does: a call
// of the least urgency does not pass two usual ones.
func TestQueueFirstCallHasItsUrgency(t *testing.T) {
	var q queue
	q.add("a", 3)
	q.add("a", 3)
	q.add("b", 7)
	if first, second := q.pop(), q.pop(); first.client != "a" || second.client != "a" {
		t.Errorf("got a call of %s and one of %s first, want both of a", first.client, second.client)
	}
}

// A client that had no call in the queue waits for one call of each other client,
// however many those have queued.
func TestQueueServesAQuietClientSoon(t *testing.T) {
	var q queue
	for range 400 {
		q.add("greedy", 3)
		q.add("eager", 3)
	}
	for range 100 {
		q.pop()
	}
	quiet := q.add("quiet", 3)
	for range 3 {
		if q.pop() == quiet {
			return
		}
	}
	t.Error("the quiet client was not among the next three, want it there")
}

// Two clients with a backlog share the slots by the weights of their urgencies.
func TestQueueSharesAmongClients(t *testing.T) {
	for urgency := range urgencies {
		var q queue
		for range 1000 {
			q.add("a", urgency)
			q.add("b", 7)
		}
		served := map[string]int{}
		for range 900 {
			served[q.pop().client]++
		}
		weight := float64(urgencies - urgency)
		want := 900 * weight / (weight + 1)
		if math.Abs(float64(served["a"])-want) > 2 {
			t.Errorf("u=%d beside u=7: got %d of 900 slots, want %.0f", urgency, served["a"], want)
		}
	}
}

// Of one client's calls the urgent ones go first, and the least urgent ones still
// progress.
func TestQueueServesUrgentCallsFirst(t *testing.T) {
	var q queue
	for range 100 {
		q.add("a", 7)
	}
	q.pop()
	urgent := q.add("a", 0)
	if q.pop() != urgent {
		t.Error("got another call, want the one at u=0 before the client's own at u=7")
	}
	for range 100 {
		q.add("a", 0)
	}
	for served := 1; q.pop().urgency != 7; served++ {
		if served > 8 {
			t.Fatal("got no call at u=7 among nine, want one")
		}
	}
}

// The urgencies of one client share its slots by their weights, also an urgency that
// had no call for a while.
func TestQueueSharesAmongUrgencies(t *testing.T) {
	for urgency := range urgencies - 1 {
		var q queue
		for range 1000 {
			q.add("a", 7)
		}
		for range 100 {
			q.pop()
		}
		for range 1000 {
			q.add("a", urgency)
		}
		served := 0
		for range 900 {
			if q.pop().urgency == urgency {
				served++
			}
		}
		weight := float64(urgencies - urgency)
		if want := 900 * weight / (weight + 1); math.Abs(float64(served)-want) > 2 {
			t.Errorf("u=%d beside u=7: got %d of 900 slots, want %.0f", urgency, served, want)
		}
	}
}

// A full queue makes room for a call at the cost of the client with most calls,
// unless the call's own client would then have as many.
func TestQueueDisplacesTheLongestClient(t *testing.T) {
	var q queue
	fill := func(client string, n int) {
		for range n {
			q.add(client, 3)
		}
	}
	if q.displaces("a") || q.longest() != "" {
		t.Error("an empty queue displaces a client, want none")
	}
	fill("c", 1)
	if q.displaces("new") {
		t.Error("a client's only call is displaced, want it kept")
	}
	fill("c", 3)
	fill("b", 4)
	fill("a", 2)
	for range 20 { // in whatever order the clients are looked at
		if name := q.longest(); name != "b" {
			t.Fatalf("got %s as the longest, want b", name)
		}
	}
	for name, want := range map[string]bool{"new": true, "a": true, "b": false, "c": false} {
		if got := q.displaces(name); got != want {
			t.Errorf("a call of %s displaces another: got %v, want %v", name, got, want)
		}
	}
	fill("a", 1)
	if q.displaces("a") {
		t.Error("a call displaces one of a client that would then be shorter, want it not to")
	}
}

// For a client that mixes urgencies, the estimate of the calls ahead is never too
// low, and too high by one call of each of its urgencies at most.
func TestQueueEstimateForMixedUrgencies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		urgency := rapid.IntRange(0, urgencies-1)
		for range rapid.IntRange(0, 10).Draw(t, "rounds") {
			u := urgency.Draw(t, "urgency")
			for range rapid.IntRange(1, 20).Draw(t, "come") {
				q.add("a", u)
			}
			for range rapid.IntRange(0, q.length).Draw(t, "served") {
				q.pop()
			}
		}
		u := urgency.Draw(t, "urgency of the last")
		ahead := q.ahead("a", u)
		w := q.add("a", u)
		served := 0
		for q.pop() != w {
			served++
		}
		if served > ahead || served <= ahead-urgencies {
			t.Fatalf("got an estimate of %d calls ahead, want %d or up to %d more", ahead, served, urgencies-1)
		}
	})
}

// An endless stream of new clients with one call each starves nobody.
func TestQueueStarvesNobody(t *testing.T) {
	var q queue
	old := q.add("old", 7)
	for i := range 1000 {
		q.add(string(rune('a'+i)), 0)
		if q.pop() == old {
			return
		}
	}
	t.Error("the old call was not among the next thousand, want it served")
}

// A call that the upstream refused goes before all others.
func TestQueueServesRefusedCallsFirst(t *testing.T) {
	var q queue
	q.add("a", 0)
	w := &waiter{client: "b", urgency: 7, refused: true}
	q.push(w)
	if q.pop() != w {
		t.Error("got another call first, want the refused one")
	}
}

// Whatever comes and goes, no call is lost and none is served twice. Where each
// client keeps to one urgency, the estimate of the calls ahead is never too low, and
// too high by one call of each rival at most, that which is due at the same time.
func TestQueueLosesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		waiting := map[*waiter]bool{}
		clients := map[string]int{"a": 0, "b": 3, "c": 3, "d": 7}
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				n := name.Draw(t, "client")
				for range rapid.IntRange(1, 20).Draw(t, "calls") {
					waiting[q.add(n, clients[n])] = true
				}
			},
			"serve": func(t *rapid.T) {
				if q.length > 0 {
					w := q.pop()
					if !waiting[w] {
						t.Fatal("got a call that does not wait")
					}
					delete(waiting, w)
				}
			},
			"go": func(t *rapid.T) {
				for w := range waiting {
					q.remove(w)
					delete(waiting, w)
					break
				}
			},
			"": func(t *rapid.T) {
				if q.length != len(waiting) {
					t.Fatalf("got a length of %d, want %d", q.length, len(waiting))
				}
				if q.length == 0 && len(q.clients) > 0 {
					t.Fatal("got clients without a call, want none")
				}
			},
		})
		n := name.Draw(t, "new")
		ahead := q.ahead(n, clients[n])
		w := q.add(n, clients[n])
		for served := 0; ; served++ {
			if q.pop() == w {
				if served > ahead || served < ahead-len(clients) {
					t.Fatalf("got an estimate of %d calls ahead, want %d or up to %d more", ahead, served, len(clients))
				}
				return
			}
		}
	})
}

package limiter

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func (q *queue) add(client string, urgency int) *waiter {
	w := &waiter{client: client, urgency: urgency}
	q.push(w)
	return w
}

// One client at one urgency: first come, first served.
func TestQueueKeepsOrder(t *testing.T) {
	var q queue
	var want []*waiter
	for range 20 {
		want = append(want, q.add("a", 3))
	}
	for i, w := range want {
		if q.pop() != w {
			t.Fatalf("place %d went to another", i)
		}
	}
}

// Clients whose turns come at the same time go in the order in which they came.
func TestQueueTiesByAge(t *testing.T) {
	var q queue
	var want []*waiter
	for i := range 20 {
		want = append(want, q.add(string(rune('a'+i*7%20)), 3))
	}
	for i, w := range want {
		if got := q.pop(); got != w {
			t.Fatalf("place %d went to client %s, not %s", i, got.client, w.client)
		}
	}
}

// The urgency of a client's first call counts as that of the later ones: a
// newcomer at the least urgency does not pass two usual calls.
func TestQueueFirstCallHasItsUrgency(t *testing.T) {
	var q queue
	q.add("a", 3)
	q.add("a", 3)
	q.add("b", 7)
	if first, second := q.pop(), q.pop(); first.client != "a" || second.client != "a" {
		t.Errorf("%s and %s went first", first.client, second.client)
	}
}

// A newcomer waits for one call of each other client, however many they have
// queued.
func TestQueueQuietClientPassesGreedyOnes(t *testing.T) {
	var q queue
	for range 400 {
		q.add("greedy", 3)
		q.add("eager", 3)
	}
	for range 100 {
		q.pop()
	}
	quiet := q.add("quiet", 3)
	for turn := 1; turn <= 3; turn++ {
		if q.pop() == quiet {
			return
		}
	}
	t.Error("not served within three turns")
}

// Two clients with a backlog share by the weights of their urgencies.
func TestQueueShares(t *testing.T) {
	for urgency := range urgencies {
		var q queue
		for range 1000 {
			q.add("a", urgency)
			q.add("b", 7)
		}
		turns := map[string]int{}
		for range 900 {
			turns[q.pop().client]++
		}
		weight := float64(urgencies - urgency)
		want := 900 * weight / (weight + 1)
		if math.Abs(float64(turns["a"])-want) > 2 {
			t.Errorf("u=%d beside u=7: %d of 900 turns, want %.0f", urgency, turns["a"], want)
		}
	}
}

// Within one client the urgent go first, and the least urgent still move.
func TestQueueUrgencyWithinAClient(t *testing.T) {
	var q queue
	for range 100 {
		q.add("a", 7)
	}
	q.pop()
	urgent := q.add("a", 0)
	if q.pop() != urgent {
		t.Error("u=0 waits behind the client's own u=7")
	}
	for range 100 {
		q.add("a", 0)
	}
	for turn := 1; q.pop().urgency != 7; turn++ {
		if turn > 8 {
			t.Fatal("u=7 had no turn among nine")
		}
	}
}

// The urgencies of one client share by their weights, also one that had nothing
// waiting for a while.
func TestQueueSharesWithinAClient(t *testing.T) {
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
		turns := 0
		for range 900 {
			if q.pop().urgency == urgency {
				turns++
			}
		}
		weight := float64(urgencies - urgency)
		if want := 900 * weight / (weight + 1); math.Abs(float64(turns)-want) > 2 {
			t.Errorf("u=%d beside u=7: %d of 900 turns, want %.0f", urgency, turns, want)
		}
	}
}

// A full queue makes room for a newcomer at the cost of the client with most
// calls, unless the newcomer's client would then have as many.
func TestQueueDisplaces(t *testing.T) {
	var q queue
	fill := func(client string, n int) {
		for range n {
			q.add(client, 3)
		}
	}
	if q.displaces("a") || q.longest() != "" {
		t.Error("an empty queue has a client to displace")
	}
	fill("c", 1)
	if q.displaces("newcomer") {
		t.Error("a client's only call is displaced")
	}
	fill("c", 3)
	fill("b", 4)
	fill("a", 2)
	for range 20 { // in whatever order the clients are looked at
		if name := q.longest(); name != "b" {
			t.Fatalf("longest is %s, want b", name)
		}
	}
	for name, want := range map[string]bool{"newcomer": true, "a": true, "b": false, "c": false} {
		if q.displaces(name) != want {
			t.Errorf("a call of %s displaces: %v", name, !want)
		}
	}
	fill("a", 1)
	if q.displaces("a") {
		t.Error("a call is displaced by one that makes its client as long")
	}
}

// What is foretold for a client that mixes urgencies is never too little, and
// too much by one call of each of its urgencies at the most.
func TestQueueForetellsMixedUrgencies(t *testing.T) {
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
		u := urgency.Draw(t, "newcomer's urgency")
		ahead := q.ahead("a", u)
		w := q.add("a", u)
		turn := 0
		for q.pop() != w {
			turn++
		}
		if turn > ahead || turn <= ahead-urgencies {
			t.Fatalf("%d were foretold ahead, there were %d", ahead, turn)
		}
	})
}

// An endless stream of new clients, one call each, starves nobody.
func TestQueueNewcomersDoNotStarveTheRest(t *testing.T) {
	var q queue
	old := q.add("old", 7)
	for i := range 1000 {
		q.add(string(rune('a'+i)), 0)
		if q.pop() == old {
			return
		}
	}
	t.Error("not served in a thousand turns")
}

// A call that was refused goes before all others.
func TestQueueAgainFirst(t *testing.T) {
	var q queue
	q.add("a", 0)
	w := &waiter{client: "b", urgency: 7, refused: true}
	q.push(w)
	if q.pop() != w {
		t.Error("the refused call lost its turn")
	}
}

// Whatever comes and goes, nobody is lost and nobody is served twice. Where each
// client keeps to one urgency, what is foretold is never too little, and too
// much by one call of each rival at the most, whose turn comes at the same time.
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
						t.Fatal("served one who does not wait")
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
					t.Fatalf("length %d, %d wait", q.length, len(waiting))
				}
				if q.length == 0 && len(q.clients) > 0 {
					t.Fatal("clients are kept without a call")
				}
			},
		})
		n := name.Draw(t, "newcomer")
		ahead := q.ahead(n, clients[n])
		w := q.add(n, clients[n])
		for turn := 0; ; turn++ {
			if q.pop() == w {
				if turn > ahead || turn < ahead-len(clients) {
					t.Fatalf("%d were foretold ahead, there were %d", ahead, turn)
				}
				return
			}
		}
	})
}

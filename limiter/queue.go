package limiter

import (
	"container/heap"
	"container/list"
	"math"
)

// A queue holds the calls that wait for one upstream and decides which is next.
//
// It is self-clocked fair queueing (Golestani, "A Self-Clocked Fair Queueing
// Scheme for Broadband Applications", INFOCOM 1994) in two levels, with every
// call of the same size: clients share the upstream, and the urgencies of one
// client share its part. Each of these queues has a tag: when its first call
// would be done if all queues were served at the same time, each by its weight.
// The queue with the lowest tag is served next, and its tag becomes the clock from
// which new queues start. It follows that
//   - a client gains nothing by queueing more calls;
//   - a client that had none in the queue waits for one call of each other client
//     at most;
//   - nobody starves: a tag stays while the clock moves on, however small the
//     weight;
//   - a client can be forgotten while it has no call, since its tag is never ahead
//     of the clock then.
//
// Calls that the upstream refused go before all others: they have waited already.
type queue struct {
	refused list.List // of *waiter
	clients map[string]*client
	order   order // the same, the next one first
	clock   float64
	arrived uint64 // heads that came, to settle ties by age
	length  int
	urgency [urgencies]int // length by urgency

	together together
}

const urgencies = 8

// A client is the calls of one name, by urgency.
type client struct {
	head
	length  int
	work    int // the sum of what its calls cost, in parts of costParts
	place   int // in queue.order
	clock   float64
	classes [urgencies]class
}

// An order is a heap of clients.
type order []*client

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i].before(o[j].head) }
func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

func (o *order) Push(c any) {
	c.(*client).place = len(*o)
	*o = append(*o, c.(*client))
}

func (o *order) Pop() any {
	last := len(*o) - 1
	c := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return c
}

// A class is the calls of one client at one urgency, served in the order in which
// they came.
type class struct {
	head
	waiters list.List
}

// A head is the place of a queue among its rivals.
type head struct {
	tag float64
	age uint64
}

func (h head) before(o head) bool { return h.tag < o.tag || h.tag == o.tag && h.age < o.age }

// cost is the inverse of an urgency's weight (RFC 9218: 0 is the most urgent).
// With weights of 8 to 1 the least urgent calls still progress beside any number
// of the most urgent.
func cost(urgency int) float64 { return 1 / float64(urgencies-urgency) }

// costParts is a number of which each cost is a whole part, so that sums of costs are
// exact however many calls come and leave.
const costParts = 840

func parts(urgency int) int { return costParts / (urgencies - urgency) }

// push puts a waiter in its place.
func (q *queue) push(w *waiter) {
	q.length++
	q.urgency[w.urgency]++
	q.together.add(w.group, 1)
	if w.refused {
		w.place = q.refused.PushBack(w)
		return
	}
	if q.clients == nil {
		q.clients = make(map[string]*client)
	}
	c := q.clients[w.client]
	if c == nil {
		c = new(client)
		q.clients[w.client] = c
	}
	k := &c.classes[w.urgency]
	if w.early {
		w.place = k.waiters.PushFront(w)
	} else {
		w.place = k.waiters.PushBack(w)
	}
	c.length++
	c.work += parts(w.urgency)
	if k.waiters.Len() == 1 {
		k.head = q.newHead(c.clock, w.urgency)
	}
	if c.length == 1 {
		c.head = q.newHead(q.clock, w.urgency)
		heap.Push(&q.order, c)
	}
}

func (q *queue) newHead(clock float64, urgency int) head {
	q.arrived++
	return head{tag: clock + cost(urgency), age: q.arrived}
}

// pop takes the first waiter out; the queue must not be empty.
func (q *queue) pop() *waiter {
	if e := q.refused.Front(); e != nil {
		w := e.Value.(*waiter)
		q.remove(w)
		return w
	}
	c := q.order[0]
	k := c.first()
	w := k.waiters.Front().Value.(*waiter)
	q.clock, c.clock = max(q.clock, c.tag), max(c.clock, k.tag)
	q.remove(w)
	k.head = q.newHead(k.tag, w.urgency) // if no call is left, push makes another
	if c.length > 0 {
		next := c.first().waiters.Front().Value.(*waiter)
		c.head = q.newHead(c.tag, next.urgency)
		heap.Fix(&q.order, c.place)
	}
	return w
}

// first is the class of the client that is served next.
func (c *client) first() *class {
	var k *class
	for i := range c.classes {
		o := &c.classes[i]
		if o.waiters.Len() > 0 && (k == nil || o.before(k.head)) {
			k = o
		}
	}
	return k
}

// remove takes a waiter out, wherever it is.
func (q *queue) remove(w *waiter) {
	q.length--
	q.urgency[w.urgency]--
	q.together.add(w.group, -1)
	if w.refused {
		q.refused.Remove(w.place)
		return
	}
	c := q.clients[w.client]
	c.classes[w.urgency].waiters.Remove(w.place)
	c.work -= parts(w.urgency)
	if c.length--; c.length == 0 {
		delete(q.clients, w.client)
		heap.Remove(&q.order, c.place)
	}
}

// longest is the client with most calls in the queue; of several such clients the
// first by name; "" where only refused calls wait.
func (q *queue) longest() (name string) {
	most := 0
	for n, c := range q.clients {
		switch {
		case c.length > most:
			name, most = n, c.length
		case c.length == most:
			name = min(name, n)
		}
	}
	return name
}

// last is the waiter of a client that came last among its least urgent.
func (q *queue) last(name string) *waiter {
	c := q.clients[name]
	for u := urgencies - 1; ; u-- {
		if e := c.classes[u].waiters.Back(); e != nil {
			return e.Value.(*waiter)
		}
	}
}

// displaces reports whether a call of the named client that comes to a full queue
// takes the place of the last call of the longest client: so a greedy client
// cannot shut others out (the longest-queue drop of McKenney, "Stochastic Fairness
// Queueing", INFOCOM 1990).
func (q *queue) displaces(name string) bool {
	longest, own := q.clients[q.longest()], q.clients[name]
	switch {
	case longest == nil:
		return false
	case own == nil:
		return longest.length > 1
	}
	return longest.length > own.length+1
}

// lengths counts the waiting calls of each client.
func (q *queue) lengths() map[string]int {
	n := make(map[string]int, len(q.clients))
	for name, c := range q.clients {
		n[name] = c.length
	}
	return n
}

// ahead estimates how many waiters are served before a call that comes now, if no
// other comes. A rival's call that is due at the same time counts as before it.
// Where a rival client mixes urgencies, their mean cost is taken for each of them.
func (q *queue) ahead(name string, urgency int) int {
	n := q.refused.Len()
	tag := q.clock + cost(urgency)
	itself := q.clients[name]
	if itself != nil {
		own, work := itself.ahead(urgency)
		n += own
		tag = itself.tag + work
	}
	for _, c := range q.order {
		if c != itself {
			n += c.doneBy(tag)
		}
	}
	return n
}

// aheadOfFirst is the same for a call that goes before the others of its client.
func (q *queue) aheadOfFirst(name string) int {
	n := q.refused.Len()
	tag := q.clock + cost(0)
	if c := q.clients[name]; c != nil {
		tag = c.tag
	}
	for other, c := range q.clients {
		if other != name {
			n += c.doneBy(tag)
		}
	}
	return n
}

// ahead is what the call's own client contributes: how many of its calls are
// served first, and the cost between the tag of its head and that of the call.
func (c *client) ahead(urgency int) (n int, work float64) {
	own := &c.classes[urgency]
	tag := c.clock + cost(urgency)
	if k := own.waiters.Len(); k > 0 {
		tag = own.tag + float64(k)*cost(urgency)
	}
	for u := range c.classes {
		k := &c.classes[u]
		m := before(tag, k.tag, cost(u), k.waiters.Len())
		n += m
		work += float64(m) * cost(u)
	}
	return n, work
}

// doneBy counts the client's calls whose tags are not above the given one.
func (c *client) doneBy(tag float64) int {
	mean := float64(c.work) / costParts / float64(c.length)
	return before(tag, c.tag, mean, c.length)
}

// before counts, of n calls whose tags begin at first and are step apart, those
// whose tag is not above the given one.
func before(tag, first, step float64, n int) int {
	const rounding = 1e-9
	steps := math.Floor((tag - first + rounding) / step)
	return min(n, max(0, int(steps)+1))
}

package limiter

import (
	"container/heap"
	"container/list"
	"errors"
	"math"
)

// ErrTaken is what Acquire fails with when the holder of another slot has taken the
// call along: it is sent with that slot and needs none of its own.
var ErrTaken = errors.New("limiter: the call was taken along with another slot")

// firstTogether is how many calls of a group are assumed to share a slot until that is
// seen.
const firstTogether = 25

// together counts the waiting calls by group, to estimate how many slots they need.
type together struct {
	groups map[string]int
	length int     // of all groups
	share  float64 // calls that leave with one slot; 0: not seen yet
}

func (g *together) add(group string, n int) {
	if group == "" {
		return
	}
	if g.groups == nil {
		g.groups = make(map[string]int)
	}
	g.length += n
	if g.groups[group] += n; g.groups[group] == 0 {
		delete(g.groups, group)
	}
}

// took notes that so many calls left with one slot although others of their group
// waited.
func (g *together) took(n int) {
	g.share = g.perSlot() + (float64(n)-g.perSlot())/4
}

func (g *together) perSlot() float64 {
	if g.share == 0 {
		return firstTogether
	}
	return g.share
}

// slots estimates how many slots n of the waiting calls need.
func (q *queue) slots(n int) int { return int(math.Ceil(float64(n) * q.slotsPerCall())) }

// slotsPerCall estimates how many slots a waiting call needs, on average: 1 if there are
// no groups. A group needs a slot at least.
func (q *queue) slotsPerCall() float64 {
	g := &q.together
	if g.length == 0 {
		return 1
	}
	shared := max(float64(len(g.groups)), float64(g.length)/g.perSlot())
	return (float64(q.length-g.length) + shared) / float64(q.length)
}

// Take offers the waiting calls of the slot's group to accept, in the order in which
// they would get slots, by the Rider of their Request. Those that it accepts leave the
// queue, and Acquire fails for them with ErrTaken. It ends when no call is left, or when
// full reports that no more are wanted. Neither function may use the Limiter.
//
// The client of a slot pays for it as for any other. One that is taken along pays a
// small part of a slot, so that the order among the clients of a group is fair too, and
// calls of other groups wait for as many slots as without it.
func (s *Slot) Take(accept func(rider any) bool, full func() bool) {
	if s.group == "" || s.shadow != nil {
		return
	}
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	taken, left := 1, false
	for w := range l.queue.ofGroup(s.group) {
		if full() {
			left = true
			break
		}
		if !w.probe && accept(w.rider) {
			taken++
			l.queue.takeAlong(w)
			w.taken = true
			close(w.decided)
		} else {
			left = true
		}
	}
	if left {
		l.queue.together.took(taken)
	}
	l.wake() // the queue may be empty now
}

// takenCost is the part of a slot that a call costs that is taken along.
const takenCost = 1.0 / 50

// takeAlong takes out a waiter that leaves with the slot of another.
func (q *queue) takeAlong(w *waiter) {
	if !w.refused {
		c := q.clients[w.client]
		c.classes[w.urgency].tag += takenCost * cost(w.urgency)
		c.tag += takenCost * cost(w.urgency)
	}
	q.remove(w)
	if !w.refused && q.clients[w.client] != nil {
		heap.Fix(&q.order, q.clients[w.client].place)
	}
}

// ofGroup yields the waiters of a group in fair order: those that were refused, then
// always the next one of the client with the lowest tag. The one that was yielded last
// may be taken out.
func (q *queue) ofGroup(group string) func(yield func(*waiter) bool) {
	return func(yield func(*waiter) bool) {
		for _, w := range members(&q.refused, group) {
			if !yield(w) {
				return
			}
		}
		waiting := q.membersByClient(group)
		for len(waiting) > 0 {
			name := q.lowest(waiting)
			c := q.clients[name]
			w := waiting[name].next(c)
			if waiting[name].length == 0 {
				delete(waiting, name)
			}
			if !yield(w) {
				return
			}
		}
	}
}

// groupMembers are the waiters of a group and client, by urgency.
type groupMembers struct {
	classes [urgencies][]*waiter
	length  int
}

// next takes the waiter out that is served next.
func (m *groupMembers) next(c *client) *waiter {
	next := -1
	for u := range m.classes {
		if len(m.classes[u]) > 0 && (next < 0 || c.classes[u].before(c.classes[next].head)) {
			next = u
		}
	}
	w := m.classes[next][0]
	m.classes[next] = m.classes[next][1:]
	m.length--
	return w
}

func (q *queue) membersByClient(group string) map[string]*groupMembers {
	all := make(map[string]*groupMembers)
	for name, c := range q.clients {
		m := new(groupMembers)
		for u := range c.classes {
			m.classes[u] = members(&c.classes[u].waiters, group)
			m.length += len(m.classes[u])
		}
		if m.length > 0 {
			all[name] = m
		}
	}
	return all
}

// lowest is the name of the client that is served next.
func (q *queue) lowest(waiting map[string]*groupMembers) (lowest string) {
	found := false
	for name := range waiting {
		if !found || q.clients[name].before(q.clients[lowest].head) {
			lowest, found = name, true
		}
	}
	return lowest
}

func members(waiters *list.List, group string) (all []*waiter) {
	for e := waiters.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.group == group {
			all = append(all, w)
		}
	}
	return all
}

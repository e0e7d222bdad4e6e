package limiter

import (
	"container/list"
	"iter"
)

// An LRU is a map of at most so many entries: a new one displaces the one that
// was least recently used. It has no lock of its own. Make one with NewLRU.
type LRU[K comparable, V any] struct {
	size  int
	order list.List // of *entry[K, V], the most recently used first
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// NewLRU makes an empty LRU of at least one entry.
func NewLRU[K comparable, V any](size int) *LRU[K, V] {
	return &LRU[K, V]{size: max(1, size), items: make(map[K]*list.Element)}
}

// Len counts the entries.
func (l *LRU[K, V]) Len() int { return len(l.items) }

// Get finds a value and counts as a use.
func (l *LRU[K, V]) Get(k K) (v V, ok bool) {
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Peek finds a value; looking is no use.
func (l *LRU[K, V]) Peek(k K) (v V, ok bool) {
	if e, found := l.items[k]; found {
		return e.Value.(*entry[K, V]).value, true
	}
	return v, false
}

// Put sets a value, counts as a use, and hands back the entry that had to go
// for it, if one had.
func (l *LRU[K, V]) Put(k K, v V) (oldest K, displaced V, full bool) {
	if e, ok := l.items[k]; ok {
		e.Value.(*entry[K, V]).value = v
		l.order.MoveToFront(e)
		return oldest, displaced, false
	}
	if full = len(l.items) >= l.size; full {
		oldest, displaced, _ = l.Oldest()
		l.Remove(oldest)
	}
	l.items[k] = l.order.PushFront(&entry[K, V]{k, v})
	return oldest, displaced, full
}

// Oldest is the entry that was least recently used; asking is no use.
func (l *LRU[K, V]) Oldest() (k K, v V, ok bool) {
	e := l.order.Back()
	if e == nil {
		return k, v, false
	}
	found := e.Value.(*entry[K, V])
	return found.key, found.value, true
}

// Remove forgets an entry, if it is there.
func (l *LRU[K, V]) Remove(k K) {
	if e, ok := l.items[k]; ok {
		l.order.Remove(e)
		delete(l.items, k)
	}
}

// All yields the entries, the most recently used first; looking is no use. The
// entry in hand may be removed meanwhile.
func (l *LRU[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := l.order.Front(); e != nil; {
			found := e.Value.(*entry[K, V])
			e = e.Next()
			if !yield(found.key, found.value) {
				return
			}
		}
	}
}

package limiter

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is done to it, an LRU holds what a slice ordered by use would hold,
// and never more than its size.
func TestLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 4
		l := NewLRU[int, int](size)
		var want [][2]int // key, value; the most recently used first
		find := func(k int) int { return slices.IndexFunc(want, func(e [2]int) bool { return e[0] == k }) }
		key := rapid.IntRange(0, 7)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				e := [2]int{key.Draw(t, "key"), rapid.Int().Draw(t, "value")}
				k, v, full := l.Put(e[0], e[1])
				if i := find(e[0]); i >= 0 {
					want = slices.Delete(want, i, i+1)
				}
				if len(want) == size {
					if last := want[size-1]; !full || last != [2]int{k, v} {
						t.Fatalf("displaced %d: %d (%v), want %v", k, v, full, last)
					}
					want = want[:size-1]
				} else if full {
					t.Fatalf("displaced %d without need", k)
				}
				want = slices.Insert(want, 0, e)
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				v, ok := l.Get(k)
				i := find(k)
				if ok != (i >= 0) || ok && v != want[i][1] {
					t.Fatalf("Get(%d) = %d, %v of %v", k, v, ok, want)
				}
				if ok {
					e := want[i]
					want = slices.Insert(slices.Delete(want, i, i+1), 0, e)
				}
			},
			"remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				l.Remove(k)
				if i := find(k); i >= 0 {
					want = slices.Delete(want, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				var got [][2]int
				for k, v := range l.All() {
					got = append(got, [2]int{k, v})
				}
				if !slices.Equal(got, want) || l.Len() != len(want) {
					t.Fatalf("holds %v, want %v", got, want)
				}
				k, v, ok := l.Oldest()
				if ok != (len(want) > 0) || ok && want[len(want)-1] != [2]int{k, v} {
					t.Fatalf("oldest %d: %d, %v of %v", k, v, ok, want)
				}
			},
		})
	})
}

// An entry may be removed while it is looked at.
func TestLRURemoveInAll(t *testing.T) {
	l := NewLRU[int, bool](10)
	for i := range 10 {
		l.Put(i, i%2 == 0)
	}
	for k, even := range l.All() {
		if even {
			l.Remove(k)
		}
	}
	if l.Len() != 5 {
		t.Errorf("%d left", l.Len())
	}
}

package operator

import "slices"

// A ring counts in steps of time, which have numbers. It holds those of a span in which
// something happened, the oldest first: of an idle portal nearly nothing.
type ring[T any] []step[T]

type step[T any] struct {
	number int32
	counts T
}

// at is what happened in a step, which is the newest one. The given number of steps before it are
// kept. Where time runs backwards, the newest step goes on.
func (r *ring[T]) at(number, kept int32) *T {
	old := 0
	for old < len(*r) && (*r)[old].number < number-kept {
		old++
	}
	*r = slices.Delete(*r, 0, old)
	if last := len(*r) - 1; last < 0 || (*r)[last].number < number {
		*r = append(*r, step[T]{number: number})
	}
	return &(*r)[len(*r)-1].counts
}

// since are the steps from a number on.
func (r ring[T]) since(number int32) ring[T] {
	for len(r) > 0 && r[0].number < number {
		r = r[1:]
	}
	return r
}

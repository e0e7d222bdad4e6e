package operator

import (
	"fmt"
	"testing"
)

// A ring holds the steps in which something happened, as far back as asked for.
func TestRing(t *testing.T) {
	var r ring[int]
	for _, number := range []int32{0, 0, 3, 2, 10, 12} {
		*r.at(number, 9)++
	}
	if got, want := fmt.Sprint(r), "[{3 2} {10 1} {12 1}]"; got != want {
		t.Errorf("got the steps %s, want %s: those before 3 are forgotten, and 2 came too late", got, want)
	}
	if got := fmt.Sprint(r.since(10)); got != "[{10 1} {12 1}]" {
		t.Errorf("got the steps %s from 10 on", got)
	}
	if got := len(r.since(13)); got != 0 {
		t.Errorf("got %d steps from 13 on, want none", got)
	}
}

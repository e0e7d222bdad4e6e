package joining

import (
	"testing"
	"time"
)

// A batch has as many reads as fit in three seconds: ten of a method that nobody knows,
// fifty of a fast one, fewer of one that takes longer.
func TestLoadHasRoomForThreeSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		took []time.Duration
		want int
	}{
		"a new method":                   {nil, 10},
		"a fast one":                     {[]time.Duration{20 * time.Millisecond}, 50},
		"one of 100 ms":                  {[]time.Duration{100 * time.Millisecond}, 30},
		"a fast one that took long once": {[]time.Duration{10 * time.Millisecond, 5 * time.Second, 10 * time.Millisecond}, 2},
		"one of two seconds":             {[]time.Duration{2 * time.Second}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, k := NewPace(), Key{"acme.bitrix24.com", "crm.deal.list"}
			for _, d := range c.took {
				p.Took(k, d)
			}
			load, got := p.Load(), 0
			for load.Add(k) && got < 100 {
				got++
			}
			if got != c.want {
				t.Errorf("got %d reads, want %d", got, c.want)
			}
		})
	}
}

// The longest durations together stay below twenty seconds, even of methods that are
// mostly fast.
func TestLoadStaysBelowTwentySeconds(t *testing.T) {
	p, k := NewPace(), Key{"acme.bitrix24.com", "crm.deal.list"}
	p.Took(k, 4*time.Second)
	for range 40 {
		p.Took(k, 10*time.Millisecond)
	}
	load, got := p.Load(), 0
	for load.Add(k) {
		got++
	}
	if longest := p.of(k).longest; got > int(Longest/longest) || got < 5 {
		t.Errorf("got %d reads that took up to %v, want as many as fit in %v", got, longest, Longest)
	}
}

// A method that takes a second or more is sent alone, until it is fast again.
func TestSlow(t *testing.T) {
	p, k := NewPace(), Key{"acme.bitrix24.com", "crm.deal.list"}
	if p.Slow(k) {
		t.Error("got a method slow that nobody has seen, want it not")
	}
	p.Took(k, time.Second)
	if !p.Slow(k) {
		t.Error("got a method of a second fast, want it slow")
	}
	p.Took(k, 100*time.Millisecond)
	if p.Slow(k) {
		t.Error("got it slow after a fast call, want it fast")
	}
	if p.Slow(Key{"other.bitrix24.com", "crm.deal.list"}) {
		t.Error("got the method slow at another portal, want it not")
	}
}

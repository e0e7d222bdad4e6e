package joining

import (
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// meant is how long a batch is meant to take. Commands run one after the other, and
	// some clients give up after 10 s (proxy/bitrix24/README.md#clients).
	meant = 3 * time.Second

	// Longest is how long a batch may take: the sum of the longest durations seen.
	Longest = 20 * time.Second

	// A method that was never seen is assumed to take so long that a batch begins with
	// ten reads.
	assumed, assumedLongest = meant / 10, Longest / 10

	// slow is how long a method takes that is sent alone, since hardly anything would fit beside it.
	slow = meant / 3

	keptMethods = 20_000
)

// A Key names a method of a portal.
type Key struct{ Portal, Method string }

// A Pace knows how long methods take.
type Pace struct{ methods *simplelru.LRU[Key, seen] }

// seen is what the answers of a method showed.
type seen struct{ usual, longest time.Duration }

// NewPace returns a Pace that has seen nothing.
func NewPace() *Pace {
	methods, _ := simplelru.NewLRU[Key, seen](keptMethods, nil) // fails only below a size of 1
	return &Pace{methods}
}

// Took notes how long a read took. What is usual rises fast and falls slowly.
func (p *Pace) Took(k Key, d time.Duration) {
	s, known := p.methods.Get(k)
	if !known {
		s = seen{d, d}
		k = Key{strings.Clone(k.Portal), strings.Clone(k.Method)} // they are parts of a request, and would keep all of it
	}
	weight := time.Duration(8)
	if d > s.usual {
		weight = 4
	}
	s.usual += (d - s.usual) / weight
	s.longest = max(d, s.longest-s.longest/64)
	p.methods.Add(k, s)
}

func (p *Pace) of(k Key) seen {
	if s, known := p.methods.Get(k); known {
		return s
	}
	return seen{assumed, assumedLongest}
}

// Slow reports whether a method takes so long that it is sent alone.
func (p *Pace) Slow(k Key) bool { return p.of(k).usual >= slow }

// A Load is the reads of one batch.
type Load struct {
	pace           *Pace
	reads          int
	usual, longest time.Duration
}

// Load begins a batch.
func (p *Pace) Load() *Load { return &Load{pace: p} }

// Add adds a read, and reports whether the batch has room for it. The first one always
// fits.
func (l *Load) Add(k Key) bool {
	s := l.pace.of(k)
	fits := l.reads < MaxReads && l.usual+s.usual <= meant && l.longest+s.longest <= Longest
	if l.reads > 0 && !fits {
		return false
	}
	l.reads, l.usual, l.longest = l.reads+1, l.usual+s.usual, l.longest+s.longest
	return true
}

// Full reports whether no read fits any more, however fast it is.
func (l *Load) Full() bool { return l.reads >= MaxReads || l.usual >= meant || l.longest >= Longest }

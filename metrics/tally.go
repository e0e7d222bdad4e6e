package metrics

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A tally is what is counted of one portal. It becomes series when it is scraped.
//
// The library's own counters and histograms hold all labels, buckets and exemplars
// from the beginning, which is 24 kB a portal. A tally holds what is not zero. Most
// portals of a proxy for many are idle, and have few kinds of errors.
type tally struct {
	label  string
	starts bool // the expected series begin with it, at zero
	began  int64

	mu         sync.Mutex
	attempted  bool // an attempt was sent, so inFlight is shown
	inFlight   int32
	counters   []counter
	histograms [histograms]*histogram // nil: nothing was observed
}

// A counter is one series of a portal.
type counter struct {
	series
	n     uint64
	began int64
}

// A series has up to two labels beside the portal. Those that its metric does not
// have are "".
type series struct {
	desc          *prometheus.Desc
	first, second string
}

// add counts in a series. One that is expected began with the portal.
func (t *tally) add(s series, n int, expected []series) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.findLocked(s); c != nil {
		c.n += uint64(n)
		return
	}
	began := time.Now().UnixNano()
	if t.starts && slices.Contains(expected, s) {
		began = t.began
	}
	t.counters = append(t.counters, counter{s, uint64(n), began})
}

func (t *tally) findLocked(s series) *counter {
	for i := range t.counters {
		if c := &t.counters[i]; c.series == s {
			return c
		}
	}
	return nil
}

func (t *tally) observe(of histogramID, value float64, requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.histograms[of] == nil {
		t.histograms[of] = &histogram{began: time.Now().UnixNano()}
	}
	t.histograms[of].observe(shapes[of].bounds, value, requestID)
}

func (t *tally) addInFlight(n int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attempted = true
	t.inFlight += n
}

// tallies are those of the first portals, and one for all later ones. None is
// forgotten, because a counter must not go back.
type tallies struct {
	mu    sync.RWMutex
	max   int
	known map[string]*tally // by portal
	none  *tally            // nil: nothing was counted there
	other *tally
}

// of finds the tally of a portal, or begins it. "" is the one of calls that named no
// portal.
func (ts *tallies) of(portal string) *tally {
	ts.mu.RLock()
	found := ts.findLocked(portal)
	ts.mu.RUnlock()
	if found != nil {
		return found
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if found = ts.findLocked(portal); found != nil {
		return found
	}
	began := time.Now().UnixNano()
	switch {
	case portal == "":
		ts.none = &tally{label: None, began: began}
		return ts.none
	case ts.isOther(portal):
		ts.other = &tally{label: Other, began: began, starts: true}
		return ts.other
	}
	found = &tally{label: strings.Clone(portal), began: began, starts: true}
	ts.known[found.label] = found
	return found
}

func (ts *tallies) findLocked(portal string) *tally {
	if portal == "" {
		return ts.none
	}
	if found := ts.known[portal]; found != nil {
		return found
	}
	if ts.isOther(portal) {
		return ts.other
	}
	return nil
}

// isOther reports whether a portal that is not known gets no label of its own.
func (ts *tallies) isOther(portal string) bool {
	return len(ts.known) >= ts.max || !isLabel(portal)
}

func (ts *tallies) all() []*tally {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	var all []*tally
	for _, t := range ts.known {
		all = append(all, t)
	}
	for _, t := range []*tally{ts.none, ts.other} {
		if t != nil {
			all = append(all, t)
		}
	}
	return all
}

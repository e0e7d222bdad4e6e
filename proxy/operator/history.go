package operator

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// What is kept for operators: the portals that were used last, and the last
// errors of each. That takes 0.6 kB for a portal that was called once, and up to 5 kB
// for a busy one with its clients.
const (
	keptPortals = 1000
	keptFor     = time.Hour // after the last call
	keptErrors  = 10        // per portal
	keptCodes   = 16        // per portal; the one that was not seen for longest goes
)

// A history is what happened lately, for the status page. It is safe for
// concurrent use, and has no clock of its own.
type history struct {
	began time.Time

	mu       sync.Mutex
	portals  *simplelru.LRU[string, *notes]
	all      series
	unrouted notes // of requests that named no portal or one that is not allowed, or had no client key
}

// notes are what is remembered of one portal.
type notes struct {
	seen        time.Time
	series      series
	usage       usage
	last        *failure  // nil: no call has failed
	unreachable time.Time // zero: it can be reached
	cause       string    // why it cannot
	movedTo     string
	repeats     int64 // writes that would have run twice
	codes       *simplelru.LRU[codeKey, *codeStatus]
	errors      []errorStatus // the newest last
}

type codeKey struct {
	code   string
	source metrics.Source
}

func newHistory(began time.Time) *history {
	portals, _ := simplelru.NewLRU[string, *notes](keptPortals, nil) // fails only below a size of 1
	return &history{began: began, portals: portals}
}

// ofLocked finds a portal's notes, or begins them, and counts as a use.
func (h *history) ofLocked(now time.Time, portal string) *notes {
	n := &h.unrouted
	if portal != "" {
		found, ok := h.portals.Get(portal)
		if !ok {
			found = new(notes)
			h.portals.Add(strings.Clone(portal), found) // it may be a part of a request
		}
		n = found
	}
	n.seen = now
	return n
}

// News are the events that history derives from others: something has changed.
type (
	portalLost struct{ PortalUnreachable }
	portalBack struct {
		PortalReached
		After time.Duration
	}
	portalRenamed struct{ PortalMoved }
)

// note keeps what an event says. It returns what is new about it, or nil.
func (h *history) note(now time.Time, e Event) (news Event) {
	switch e := e.(type) {
	case CallEnded:
		h.ended(now, e)
	case Joined:
		h.joined(now, e)
	case ErrorSeen:
		h.errorSeen(now, e)
	case RepeatSeen:
		h.repeatSeen(now, e)
	case PortalReached:
		if since, changed := h.reached(now, e.Portal, ""); changed {
			return portalBack{e, now.Sub(since)}
		}
	case PortalUnreachable:
		if _, changed := h.reached(now, e.Portal, cmp.Or(e.Cause, "unknown cause")); changed {
			return portalLost{e}
		}
	case PortalMoved:
		if h.moved(now, e) {
			return portalRenamed{e}
		}
	}
	return nil
}

func (h *history) ended(now time.Time, e CallEnded) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, e.Portal)
	failed := e.Outcome == metrics.PortalError || e.Outcome == metrics.Unreachable || e.Outcome == metrics.Rejected
	if failed {
		n.last = &failure{shownCode(e.Code), e.Source, e.Reason, e.Status}
	}
	if e.Portal != "" {
		n.usage.note(now.Sub(h.began), e)
	}
	for _, s := range []*interval{n.series.at(now.Sub(h.began)), h.all.at(now.Sub(h.began))} {
		s.calls++
		s.longest = max(s.longest, e.wait())
		switch {
		case failed:
			s.failed++
		case e.Outcome == metrics.MethodError:
			s.methodErrors++
		}
	}
}

func (h *history) joined(now time.Time, e Joined) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range []*interval{h.ofLocked(now, e.Portal).series.at(now.Sub(h.began)), h.all.at(now.Sub(h.began))} {
		s.joined += int32(e.Reads)
		s.batches++
	}
}

func (h *history) errorSeen(now time.Time, e ErrorSeen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, e.Portal)
	if known := bitrix24.Lookup(e.Code); e.Source == metrics.FromPortal && known != nil && known.Category == bitrix24.CategoryRateLimit {
		n.series.at(now.Sub(h.began)).refused++
		h.all.at(now.Sub(h.began)).refused++
	}
	n.errorSeen(errorStatus{At: moment(now), Code: shownCode(e.Code), Source: e.Source, Method: e.API.Method, RequestID: e.RequestID})
}

func (n *notes) errorSeen(e errorStatus) {
	if n.codes == nil {
		n.codes, _ = simplelru.NewLRU[codeKey, *codeStatus](keptCodes, nil) // fails only below a size of 1
	}
	tally, found := n.codes.Get(codeKey{e.Code, e.Source})
	if !found {
		tally = &codeStatus{Code: e.Code, Source: e.Source}
		n.codes.Add(codeKey{e.Code, e.Source}, tally)
	}
	tally.Count++
	tally.LastAt = e.At
	if len(n.errors) == keptErrors {
		n.errors = slices.Delete(n.errors, 0, 1)
	}
	n.errors = append(n.errors, e)
}

func (h *history) repeatSeen(now time.Time, e RepeatSeen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Result.WouldRun() {
		h.ofLocked(now, e.Portal).repeats++
	}
}

// reached notes that a portal could be reached, or that it could not for some
// cause. It reports whether that is new, and since when the portal was unreachable
// before.
func (h *history) reached(now time.Time, portal, cause string) (since time.Time, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, portal)
	since, n.cause = n.unreachable, cause
	if isReached := cause == ""; isReached == since.IsZero() {
		return since, false
	}
	n.unreachable = time.Time{}
	if cause != "" {
		n.unreachable = now
	}
	return since, true
}

// moved reports whether the portal's name is new.
func (h *history) moved(now time.Time, e PortalMoved) (isNew bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, e.Portal)
	isNew = n.movedTo != e.To
	n.movedTo = e.To
	return isNew
}

// sample notes how many calls wait at this moment, and forgets the portals that
// were not called for a long time.
func (h *history) sample(now time.Time, portals []Portal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := now.Sub(h.began)
	var all int32
	for i := range portals {
		if waiting := int32(portals[i].waiting()); waiting > 0 {
			s := h.ofLocked(now, portals[i].Upstream).series.at(since)
			s.waiting = max(s.waiting, waiting)
			all += waiting
		}
	}
	s := h.all.at(since)
	s.waiting = max(s.waiting, all)
	for {
		portal, n, ok := h.portals.GetOldest()
		if !ok || now.Sub(n.seen) <= keptFor {
			return
		}
		h.portals.Remove(portal)
	}
}

// overall describes all portals together, and the requests without one.
func (h *history) overall(now time.Time) (*seriesStatus, errorsStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.status(now.Sub(h.began), now), h.unrouted.errorsStatus()
}

// names lists the portals that are remembered, the last used first.
func (h *history) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := h.portals.Keys()
	slices.Reverse(names)
	return names
}

// requestOf is the last request that the portal answered with an error of a
// category, "" if that is not known any more.
func (h *history) requestOf(portal string, category bitrix24.Category) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, ok := h.portals.Peek(portal)
	if !ok {
		return ""
	}
	for _, e := range slices.Backward(n.errors) {
		if known := bitrix24.Lookup(bitrix24.Code(e.Code)); e.Source == metrics.FromPortal && known != nil && known.Category == category {
			return e.RequestID
		}
	}
	return ""
}

// describe fills in what is remembered of a portal, and reports whether it is.
func (h *history) describe(now time.Time, s *portalStatus) (isKnown bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, isKnown := h.portals.Peek(s.Portal)
	if isKnown {
		n.describe(now.Sub(h.began), now, s)
	}
	return isKnown
}

func (n *notes) describe(since time.Duration, now time.Time, s *portalStatus) {
	minute := n.series.lastMinute(since)
	s.LastSeen = moment(n.seen)
	s.LastMinute = minuteOf(minute)
	s.MovedTo = n.movedTo
	if n.last != nil {
		s.LastFailure, s.lastFailure = n.last.code, *n.last
	}
	if !n.unreachable.IsZero() {
		s.UnreachableSince, s.unreachable = moment(n.unreachable), unreachable{now.Sub(n.unreachable), n.cause}
	}
	s.RepeatedWrites = n.repeats
	s.Usage = n.usage.status(since)
	s.Errors = n.errorsStatus()
	s.Series = n.series.status(since, now)
}

func (n *notes) errorsStatus() errorsStatus {
	s := errorsStatus{ByCode: []codeStatus{}, Last: slices.Clone(n.errors)}
	slices.Reverse(s.Last)
	if s.Last == nil {
		s.Last = []errorStatus{}
	}
	if n.codes != nil {
		for _, tally := range slices.Backward(n.codes.Values()) {
			s.ByCode = append(s.ByCode, *tally)
		}
	}
	return s
}

func minuteOf(s interval) minuteStatus {
	return minuteStatus{
		Calls: s.calls, Failed: s.failed, MethodErrors: s.methodErrors, Refused: s.refused, Joined: s.joined, Batches: s.batches,
		MostWaiting: s.waiting, LongestWaitSeconds: roundTo(s.longest.Seconds(), 3),
	}
}

// shownCode is a code as operators may see it. A portal may send anything in its
// place, so it stays as it is only if it is spelt as codes are, and as no webhook
// code or token is.
func shownCode(code bitrix24.Code) string {
	spelt := strings.TrimSpace(string(code))
	label := bitrix24.Label(bitrix24.Code(spelt))
	isUpper := label == bitrix24.LabelOther && len(spelt) <= 64 && spelt[0] >= 'A' && spelt[0] <= 'Z' &&
		strings.Trim(spelt, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	if isUpper || label == bitrix24.LabelNumeric && len(spelt) <= 12 {
		return spelt
	}
	return label
}

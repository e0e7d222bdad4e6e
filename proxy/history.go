package proxy

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// What is kept for operators: the portals used last, of each the errors that
// came last. About 3 KB a portal.
const (
	keptPortals = 1000
	keptFor     = time.Hour // after the last call
	keptErrors  = 10        // a portal
	keptCodes   = 16        // a portal; the one not seen for longest goes
)

// A history remembers what happened lately, for the status page. It is safe for
// concurrent use, and has no clock of its own.
type history struct {
	log   *slog.Logger
	began time.Time

	mu       sync.Mutex
	portals  *limiter.LRU[string, *notes]
	all      series
	unrouted notes // of requests that named no portal, or one off the list
}

// notes are what is remembered of one portal.
type notes struct {
	seen        time.Time
	series      series
	cause       string // code of the last failed call
	unreachable time.Time
	movedTo     string
	codes       *limiter.LRU[codeKey, *codeStatus]
	errors      []errorStatus // the newest last
}

type codeKey struct {
	code   string
	source metrics.Source
}

func newHistory(log *slog.Logger, began time.Time) *history {
	return &history{log: log, began: began, portals: limiter.NewLRU[string, *notes](keptPortals)}
}

// ofLocked finds a portal's notes, or begins them, and counts as a use.
func (h *history) ofLocked(now time.Time, portal string) *notes {
	n := &h.unrouted
	if portal != "" {
		found, ok := h.portals.Get(portal)
		if !ok {
			found = new(notes)
			h.portals.Put(portal, found)
		}
		n = found
	}
	n.seen = now
	return n
}

// ended notes how a client's call ended; code is that of a failure.
func (h *history) ended(now time.Time, portal string, outcome metrics.Outcome, code string, queued time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, portal)
	failed := outcome == metrics.PortalError || outcome == metrics.Unreachable || outcome == metrics.Rejected
	if failed {
		n.cause = shownCode(code)
	}
	for _, s := range []*slot{n.series.at(now.Sub(h.began)), h.all.at(now.Sub(h.began))} {
		s.calls++
		s.longest = max(s.longest, queued)
		switch {
		case failed:
			s.failed++
		case outcome == metrics.MethodError:
			s.methodErrors++
		}
	}
}

// errored notes an error, as errors_total counts it: also of attempts that are
// sent again, and of commands inside a batch.
func (h *history) errored(now time.Time, portal, code string, source metrics.Source, method, requestID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, portal)
	if known := bitrix24.Lookup(bitrix24.Code(code)); source == metrics.FromPortal && known != nil && known.Category == bitrix24.CategoryRateLimit {
		n.series.at(now.Sub(h.began)).refused++
		h.all.at(now.Sub(h.began)).refused++
	}
	code = shownCode(code)
	if n.codes == nil {
		n.codes = limiter.NewLRU[codeKey, *codeStatus](keptCodes)
	}
	tally, ok := n.codes.Get(codeKey{code, source})
	if !ok {
		tally = &codeStatus{Code: code, Source: source}
		n.codes.Put(codeKey{code, source}, tally)
	}
	tally.Count++
	tally.LastAt = moment(now)
	if len(n.errors) == keptErrors {
		n.errors = slices.Delete(n.errors, 0, 1)
	}
	n.errors = append(n.errors, errorStatus{At: moment(now), Code: code, Source: source, Method: method, RequestID: requestID})
}

// reached notes whether an attempt came to its portal, and logs when that
// changes.
func (h *history) reached(now time.Time, portal, requestID string, failed *failure) {
	lost := failed != nil && failed.outcome == metrics.Unreachable
	since, changed := h.setReached(now, portal, lost)
	switch {
	case !changed:
	case lost:
		h.log.Warn("the portal cannot be reached", "request_id", requestID, "portal", portal, "error", failed.logged())
	default:
		h.log.Info("the portal is reachable again", "request_id", requestID, "portal", portal, "after", now.Sub(since))
	}
}

func (h *history) setReached(now time.Time, portal string, lost bool) (since time.Time, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, portal)
	since = n.unreachable
	if lost == !since.IsZero() {
		return since, false
	}
	n.unreachable = time.Time{}
	if lost {
		n.unreachable = now
	}
	return since, true
}

// moved logs a portal's new name, once.
func (h *history) moved(now time.Time, portal, to, requestID string) {
	if h.setMoved(now, portal, to) {
		h.log.Warn("the portal was renamed", "request_id", requestID, "portal", portal, "to", to)
	}
}

func (h *history) setMoved(now time.Time, portal, to string) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.ofLocked(now, portal)
	changed = n.movedTo != to
	n.movedTo = to
	return changed
}

// sample notes how many wait at this moment, and forgets the portals that were
// not called for long.
func (h *history) sample(now time.Time, states []limiter.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := now.Sub(h.began)
	var all int32
	for i := range states {
		if waiting := int32(waitingIn(&states[i])); waiting > 0 {
			s := h.ofLocked(now, states[i].Upstream).series.at(since)
			s.waiting = max(s.waiting, waiting)
			all += waiting
		}
	}
	s := h.all.at(since)
	s.waiting = max(s.waiting, all)
	for {
		portal, n, ok := h.portals.Oldest()
		if !ok || now.Sub(n.seen) <= keptFor {
			return
		}
		h.portals.Remove(portal)
	}
}

// overall tells of all portals together, and of the requests without one.
func (h *history) overall(now time.Time) (*seriesStatus, errorsStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.status(now.Sub(h.began), now), h.unrouted.errorsStatus()
}

// names lists the portals that are remembered, the last used first.
func (h *history) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, h.portals.Len())
	for name := range h.portals.All() {
		names = append(names, name)
	}
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

// describe fills in what is remembered of a portal.
func (h *history) describe(now time.Time, s *portalStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n, ok := h.portals.Peek(s.Portal); ok {
		n.describe(now.Sub(h.began), now, s)
	}
}

func (n *notes) describe(since time.Duration, now time.Time, s *portalStatus) {
	minute := n.series.lastMinute(since)
	s.LastSeen = moment(n.seen)
	s.LastMinute = minuteOf(minute)
	s.Cause, s.MovedTo = n.cause, n.movedTo
	if !n.unreachable.IsZero() {
		s.UnreachableSince, s.unreachableFor = moment(n.unreachable), now.Sub(n.unreachable)
	}
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
		for _, tally := range n.codes.All() {
			s.ByCode = append(s.ByCode, *tally)
		}
	}
	return s
}

func minuteOf(s slot) minuteStatus {
	return minuteStatus{
		Calls: s.calls, Failed: s.failed, MethodErrors: s.methodErrors, Refused: s.refused,
		MostWaiting: s.waiting, LongestWaitSeconds: roundTo(s.longest.Seconds(), 3),
	}
}

// shownCode is a code as operators may see it: what a portal sends as one is
// not under our control, so only what is spelt as codes are, and no webhook code
// or token is, stays as it is.
func shownCode(code string) string {
	code = strings.TrimSpace(code)
	label := bitrix24.Label(bitrix24.Code(code))
	isUpper := label == "other" && len(code) <= 64 && code[0] >= 'A' && code[0] <= 'Z' &&
		strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	if isUpper || label == "numeric" && len(code) <= 12 {
		return code
	}
	return label
}

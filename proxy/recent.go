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
	recentPortals = 1000
	recentFor     = time.Hour // after the last call
	recentErrors  = 10        // a portal
	recentCodes   = 16        // a portal; the one not seen for longest goes
)

// A recent remembers what happened lately, for the status page. It is safe for
// concurrent use, and has no clock of its own.
type recent struct {
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

func newRecent(log *slog.Logger, began time.Time) *recent {
	return &recent{log: log, began: began, portals: limiter.NewLRU[string, *notes](recentPortals)}
}

// ofLocked finds a portal's notes, or begins them, and counts as a use.
func (r *recent) ofLocked(now time.Time, portal string) *notes {
	n := &r.unrouted
	if portal != "" {
		found, ok := r.portals.Get(portal)
		if !ok {
			found = new(notes)
			r.portals.Put(portal, found)
		}
		n = found
	}
	n.seen = now
	return n
}

// ended notes how a client's call ended; code is that of a failure.
func (r *recent) ended(now time.Time, portal string, outcome metrics.Outcome, code string, queued time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ofLocked(now, portal)
	failed := outcome == metrics.PortalError || outcome == metrics.Unreachable || outcome == metrics.Rejected
	if failed {
		n.cause = shownCode(code)
	}
	for _, s := range []*slot{n.series.at(now.Sub(r.began)), r.all.at(now.Sub(r.began))} {
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
func (r *recent) errored(now time.Time, portal, code string, source metrics.Source, method, requestID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ofLocked(now, portal)
	if known := bitrix24.Lookup(bitrix24.Code(code)); source == metrics.FromPortal && known != nil && known.Category == bitrix24.CategoryRateLimit {
		n.series.at(now.Sub(r.began)).refused++
		r.all.at(now.Sub(r.began)).refused++
	}
	code = shownCode(code)
	if n.codes == nil {
		n.codes = limiter.NewLRU[codeKey, *codeStatus](recentCodes)
	}
	tally, ok := n.codes.Get(codeKey{code, source})
	if !ok {
		tally = &codeStatus{Code: code, Source: source}
		n.codes.Put(codeKey{code, source}, tally)
	}
	tally.Count++
	tally.LastAt = moment(now)
	if len(n.errors) == recentErrors {
		n.errors = slices.Delete(n.errors, 0, 1)
	}
	n.errors = append(n.errors, errorStatus{At: moment(now), Code: code, Source: source, Method: method, RequestID: requestID})
}

// reached notes whether an attempt came to its portal, and logs when that
// changes.
func (r *recent) reached(now time.Time, portal, requestID string, failed *failure) {
	lost := failed != nil && failed.outcome == metrics.Unreachable
	since, changed := r.setReached(now, portal, lost)
	switch {
	case !changed:
	case lost:
		r.log.Warn("the portal cannot be reached", "request_id", requestID, "portal", portal, "error", failed.logged())
	default:
		r.log.Info("the portal is reachable again", "request_id", requestID, "portal", portal, "after", now.Sub(since))
	}
}

func (r *recent) setReached(now time.Time, portal string, lost bool) (since time.Time, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ofLocked(now, portal)
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
func (r *recent) moved(now time.Time, portal, to, requestID string) {
	if r.setMoved(now, portal, to) {
		r.log.Warn("the portal was renamed", "request_id", requestID, "portal", portal, "to", to)
	}
}

func (r *recent) setMoved(now time.Time, portal, to string) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ofLocked(now, portal)
	changed = n.movedTo != to
	n.movedTo = to
	return changed
}

// sample notes how many wait at this moment, and forgets the portals that were
// not called for long.
func (r *recent) sample(now time.Time, states []limiter.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := now.Sub(r.began)
	var all int32
	for i := range states {
		if waiting := int32(waitingIn(&states[i])); waiting > 0 {
			s := r.ofLocked(now, states[i].Upstream).series.at(since)
			s.waiting = max(s.waiting, waiting)
			all += waiting
		}
	}
	s := r.all.at(since)
	s.waiting = max(s.waiting, all)
	for {
		portal, n, ok := r.portals.Oldest()
		if !ok || now.Sub(n.seen) <= recentFor {
			return
		}
		r.portals.Remove(portal)
	}
}

// overall tells of all portals together, and of the requests without one.
func (r *recent) overall(now time.Time) (*seriesStatus, errorsStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.status(now.Sub(r.began), now), r.unrouted.errorsStatus()
}

// names lists the portals that are remembered, the last used first.
func (r *recent) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, r.portals.Len())
	for name := range r.portals.All() {
		names = append(names, name)
	}
	return names
}

// requestOf is the last request that the portal answered with an error of a
// category, "" if that is not known any more.
func (r *recent) requestOf(portal string, category bitrix24.Category) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.portals.Peek(portal)
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
func (r *recent) describe(now time.Time, s *portalStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.portals.Peek(s.Portal); ok {
		n.describe(now.Sub(r.began), now, s)
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

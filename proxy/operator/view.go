package operator

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A view is a status in the words and the order of the page.
type view struct {
	status
	Title    string
	Facts    string
	Verdict  *verdict
	Notice   string
	Clients  string // where clients connect, as an address for the reader
	Columns  []viewColumn
	Rows     []viewRow
	More     string
	Unrouted errorsView
}

type verdict struct {
	Text string
	Tone tone
}

type viewRow struct {
	portalStatus
	Now       time.Time
	Tone      tone
	Toggle    string // opens or closes the row
	IsOpen    bool
	Fill      meter // of the bucket
	Queue     queueView
	Errors    errorsView
	Operating []operatingView

	NamesChange bool // of credentials that are listed, when the proxy restarts
}

type queueView struct {
	queueStatus
	OtherWaiting int
	Urgencies    string
}

type errorsView struct {
	errorsStatus
	Now time.Time
}

type operatingView struct {
	operatingStatus
	Fill  meter
	Until string
}

// A meter is a bar that is partly filled.
type meter struct {
	Label   string
	Tone    tone
	Percent int
}

func newMeter(label string, ratio float64, t tone) meter {
	return meter{label, t, int(100*min(1, ratio) + 0.5)}
}

// shownPortals bounds the portals on the page, which has the worst ones. /status
// has all.
const shownPortals = 200

// newView shows a status as a viewer chose it. The viewer knows the proxy by host.
func newView(s *status, c choice, host string) *view {
	v := &view{
		status: *s, Title: "b24proxy", Facts: s.facts(), Notice: s.notice(), Clients: s.clients(host),
		Columns: c.columns(), Unrouted: errorsView{s.Unrouted, s.Time},
	}
	shown := s.Portals[:min(len(s.Portals), shownPortals)]
	if more := s.Known - len(shown); more > 0 {
		v.More = count(more, "portal") + " in a better state are not shown here. The JSON has all."
	}
	if len(shown) > 0 {
		v.Verdict = newVerdict(shown, s.Known)
	}
	if hurt := inTone(bad, shown); len(hurt) > 0 {
		v.Title = fmt.Sprintf("(%d) b24proxy", len(hurt))
	}
	for _, p := range c.sorted(shown) {
		row := newRow(p, c, s.Time)
		row.NamesChange = !s.Store.KeepsCredentialIDs && p.Usage.hasCredentials()
		v.Rows = append(v.Rows, row)
	}
	return v
}

func newRow(p portalStatus, c choice, now time.Time) viewRow {
	r := viewRow{portalStatus: p, Now: now, Tone: tones[p.State], Toggle: c.toggled(p.Portal).href(), IsOpen: slices.Contains(c.open, p.Portal)}
	if p.Bucket != nil {
		t := plain
		if p.fill() > 0.9 {
			t = warn
		}
		r.Fill = newMeter("Bucket of "+p.Portal, p.fill(), t)
	}
	r.Queue, r.Errors = newQueueView(p.Queue), errorsView{p.Errors, now}
	for _, b := range p.Operating {
		r.Operating = append(r.Operating, newOperatingView(b))
	}
	return r
}

func newQueueView(q queueStatus) queueView {
	v := queueView{queueStatus: q, OtherWaiting: q.Waiting}
	for _, c := range q.ByClient {
		v.OtherWaiting -= c.Waiting
	}
	var urgencies []string
	for urgency, n := range q.ByUrgency {
		if n > 0 {
			urgencies = append(urgencies, fmt.Sprintf("u=%d: %s", urgency, decimal(n)))
		}
	}
	v.Urgencies = strings.Join(urgencies, ", ")
	return v
}

func newOperatingView(b operatingStatus) operatingView {
	v, t := operatingView{operatingStatus: b, Until: "open"}, plain
	switch {
	case b.closedFor > 0 && b.Blocked:
		v.Until, t = "refused by the portal until "+clock(b.ClosedUntil)+" UTC", bad
	case b.closedFor > 0:
		v.Until, t = "held back until "+clock(b.ClosedUntil)+" UTC", bad
	case !b.ResetAt.IsZero():
		v.Until = "falls at " + clock(b.ResetAt) + " UTC"
	}
	if t == plain && b.Ratio > 0.8 {
		t = warn
	}
	v.Fill = newMeter("Operating time used", b.Ratio, t)
	return v
}

// Sum counts the errors of all codes that are remembered.
func (e errorsView) Sum() (n int64) {
	for _, c := range e.ByCode {
		n += c.Count
	}
	return n
}

// A tone is a colour of the page, and the name of its class there.
type tone string

const (
	plain tone = ""
	good  tone = "good"
	warn  tone = "warn"
	bad   tone = "bad"
)

var tones = map[state]tone{
	isBlocked: bad, isUnreachable: bad, isFailing: bad,
	isHolding: warn, isSlowed: warn, isQueueing: warn, isOK: good,
}

func inTone(t tone, portals []portalStatus) (names []string) {
	for _, p := range portals {
		if tones[p.State] == t {
			names = append(names, p.Portal)
		}
	}
	return names
}

// newVerdict says in a sentence how all known portals do. The worst ones are shown.
func newVerdict(shown []portalStatus, known int) *verdict {
	hurt, strained := inTone(bad, shown), inTone(warn, shown)
	switch {
	case len(hurt) > 0:
		return &verdict{count(len(hurt), "portal") + " in trouble: " + someOf(hurt), bad}
	case len(strained) > 0:
		return &verdict{count(len(strained), "portal") + " under strain: " + someOf(strained), warn}
	case known == 1:
		return &verdict{"The portal is OK", plain}
	}
	return &verdict{fmt.Sprintf("All %d portals are OK", known), plain}
}

// someOf lists the first three names, and says how many more there are.
func someOf(names []string) string {
	text := strings.Join(names[:min(3, len(names))], ", ")
	if more := len(names) - 3; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (s *status) facts() string {
	store := map[Store]string{InMemory: "state in memory", InFile: "state kept in a file", InRedis: s.Store.Shared.fact()}[s.Store.Kind]
	up := time.Duration(s.Proxy.UptimeSeconds) * time.Second
	facts := []string{s.Proxy.Version, string(s.Proxy.Mode), "up " + span(up), store}
	return strings.Join(facts, " · ")
}

// fact says in a few words with how many replicas this one shares the limits.
func (s *sharedStatus) fact() string {
	switch {
	case s == nil:
		return ""
	case !s.Up:
		return "shared store away"
	}
	return "store shared by " + count(s.Replicas, "replica")
}

// notice says what it means that the store is away.
func (s *sharedStatus) notice() string {
	reached := "It has not been reached since this replica started."
	if s.Replicas > 0 {
		reached = "When it was last reached, " + count(s.Replicas, "replica") + " shared it."
	}
	return fmt.Sprintf("The shared store has been away for %s. This replica goes on alone with its share of the limits, which is shown here. %s", span(s.awayFor), reached)
}

func (s *status) notice() string {
	var notices []string
	if shared := s.Store.Shared; shared != nil && !shared.Up {
		notices = append(notices, shared.notice())
	}
	if s.Proxy.Draining {
		notices = append(notices, "The proxy is stopping: it refuses new calls.")
	}
	if s.Proxy.Mode == Observe {
		notices = append(notices, "Mode observe: the limits are not enforced. A call that they would refuse is sent, and counts as failed here. Invalid requests are still refused.")
	}
	return strings.Join(notices, " ")
}

// clients is where clients connect, under the host name that the reader of the
// page uses. The proxy may listen on all addresses, and [::] is not one to call.
func (s *status) clients(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, port, err := net.SplitHostPort(s.Proxy.Listen)
	if err != nil {
		port = "8080"
	}
	return "http://" + net.JoinHostPort(strings.Trim(host, "[]"), port)
}

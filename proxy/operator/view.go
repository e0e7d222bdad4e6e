package operator

import (
	"fmt"
	"net"
	"slices"
	"strconv"
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

type verdict struct{ Text, Tone string }

type viewColumn struct {
	Title, Href, Order string
	IsNumber           bool
}

type viewRow struct {
	portalStatus
	Now       time.Time
	Tone      string
	Toggle    string // opens or closes the row
	IsOpen    bool
	Fill      meter // of the bucket
	Queue     queueView
	Errors    errorsView
	Operating []operatingView
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
	Label, Tone string
	Percent     int
}

func newMeter(label string, ratio float64, tone string) meter {
	return meter{label, tone, int(100*min(1, ratio) + 0.5)}
}

// newView shows a status as a viewer chose it, who asked for the page at a host.
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
	if hurt := inTone("bad", shown); len(hurt) > 0 {
		v.Title = fmt.Sprintf("(%d) b24proxy", len(hurt))
	}
	for _, p := range c.sorted(shown) {
		v.Rows = append(v.Rows, newRow(p, c, s.Time))
	}
	return v
}

func newRow(p portalStatus, c choice, now time.Time) viewRow {
	r := viewRow{portalStatus: p, Now: now, Tone: tones[p.State], Toggle: c.toggled(p.Portal).href(), IsOpen: slices.Contains(c.open, p.Portal)}
	if p.Bucket != nil {
		tone := ""
		if p.fill() > 0.9 {
			tone = "warn"
		}
		r.Fill = newMeter("Bucket of "+p.Portal, p.fill(), tone)
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
	v, tone := operatingView{operatingStatus: b, Until: "open"}, ""
	switch {
	case b.closedFor > 0 && b.Blocked:
		v.Until, tone = "refused by the portal until "+clock(b.ClosedUntil)+" UTC", "bad"
	case b.closedFor > 0:
		v.Until, tone = "held back until "+clock(b.ClosedUntil)+" UTC", "bad"
	case !b.ResetAt.IsZero():
		v.Until = "falls at " + clock(b.ResetAt) + " UTC"
	}
	if tone == "" && b.Ratio > 0.8 {
		tone = "warn"
	}
	v.Fill = newMeter("Operating time used", b.Ratio, tone)
	return v
}

// Sum counts the errors of all codes that are remembered.
func (e errorsView) Sum() (n int64) {
	for _, c := range e.ByCode {
		n += c.Count
	}
	return n
}

// tones are the colours of the states.
var tones = map[state]string{
	isBlocked: "bad", isUnreachable: "bad", isFailing: "bad",
	isHolding: "warn", isSlowed: "warn", isQueueing: "warn", isOK: "good",
}

func inTone(tone string, portals []portalStatus) (names []string) {
	for _, p := range portals {
		if tones[p.State] == tone {
			names = append(names, p.Portal)
		}
	}
	return names
}

// newVerdict says in a sentence how all portals do, of which some are shown.
func newVerdict(shown []portalStatus, known int) *verdict {
	hurt, strained := inTone("bad", shown), inTone("warn", shown)
	switch {
	case len(hurt) > 0:
		return &verdict{count(len(hurt), "portal") + " in trouble: " + someOf(hurt), "bad"}
	case len(strained) > 0:
		return &verdict{count(len(strained), "portal") + " under strain: " + someOf(strained), "warn"}
	case known == 1:
		return &verdict{"The portal is OK", ""}
	}
	return &verdict{fmt.Sprintf("All %d portals are OK", known), ""}
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
	store := "state in memory"
	if s.Store.Kind == "file" {
		store = "state kept in a file"
	}
	up := time.Duration(s.Proxy.UptimeSeconds) * time.Second
	facts := []string{s.Proxy.Version, s.Proxy.Mode, "up " + span(up), store}
	return strings.Join(facts, " · ")
}

func (s *status) notice() string {
	var notices []string
	if s.Proxy.Draining {
		notices = append(notices, "The proxy is stopping: it refuses new calls.")
	}
	if s.Proxy.Mode == "observe" {
		notices = append(notices, "Mode observe: the limits are not enforced. A call that they would refuse is sent, and counts as failed here. Invalid requests are still refused.")
	}
	return strings.Join(notices, " ")
}

// clients is where clients connect, under the host name that the reader of the
// page uses: the proxy may listen on all addresses, which are no address to call.
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

// fill is how full the bucket is, -1 where there is none.
func (s *portalStatus) fill() float64 {
	if s.Bucket == nil {
		return -1
	}
	return s.Bucket.Level / float64(s.Bucket.Burst)
}

// lastError is when the last error came, zero where none is remembered.
func (s *portalStatus) lastError() (at time.Time) {
	if len(s.Errors.Last) > 0 {
		at = s.Errors.Last[0].At
	}
	return at
}

// A chart shows a number for each interval of the last five minutes as a bar.
type chart struct {
	Kind, Title, Peak string
	Width, Height     int
	Bars              []bar
}

type bar struct{ X, Y, Height string }

const chartHeight = 10

func charts(s *seriesStatus) []chart {
	return []chart{
		newChart("calls", "Calls", s.Calls, s.StepSeconds, "/s"),
		newChart("failed", "Failed", s.Failed, s.StepSeconds, "/s"),
		newChart("waiting", "Waiting", s.Waiting, 1, ""),
	}
}

// newChart draws values, each of which counts for so much of a unit.
func newChart(kind, title string, values [seriesSteps]int32, per float64, unit string) chart {
	peak := slices.Max(values[:])
	c := chart{Kind: kind, Title: title, Peak: decimal(float64(peak)/per) + unit, Width: seriesSteps, Height: chartHeight}
	for i, v := range values {
		if v == 0 {
			continue
		}
		height := max(0.5, chartHeight*float64(v)/float64(peak))
		c.Bars = append(c.Bars, bar{tenths(float64(i) + 0.1), tenths(chartHeight - height), tenths(height)})
	}
	return c
}

func tenths(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// decimal is a number for people: with at most one digit after the point, and
// commas between thousands.
func decimal(number any) string {
	text := strings.TrimSuffix(tenths(toFloat(number)), ".0")
	whole, part, isBroken := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if isBroken {
		return whole + "." + part
	}
	return whole
}

func toFloat(number any) float64 {
	switch n := number.(type) {
	case float64:
		return n
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	}
	panic(fmt.Sprintf("decimal of %T", number))
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }

// ago is how long before now an instant was.
func ago(now, t time.Time) string { return span(now.Sub(t)) + " ago" }

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// parts are where a code or a method may break into lines.
func parts(word string) []string {
	var all []string
	for rest := word; rest != ""; {
		end := strings.IndexAny(rest, "._") + 1
		if end == 0 {
			end = len(rest)
		}
		all, rest = append(all, rest[:end]), rest[end:]
	}
	return all
}

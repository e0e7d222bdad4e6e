package operator

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"time"

	"b24proxy/metrics"
)

// A status is the JSON of /status. Programs rely on its names: they stay, and new
// ones may come. Instants are RFC 3339 in UTC, spans are seconds. What is absent
// does not apply or is unknown.
type status struct {
	Time     time.Time      `json:"time"`
	Proxy    proxyStatus    `json:"proxy"`
	Store    storeStatus    `json:"store"`
	Unrouted errorsStatus   `json:"unrouted"` // requests that named no portal or one that is not allowed, or had no client key
	Series   *seriesStatus  `json:"series"`   // of all portals
	Known    int            `json:"portals_known"`
	Portals  []portalStatus `json:"portals"` // the worst first
}

type proxyStatus struct {
	Version       string    `json:"version"`
	Mode          Mode      `json:"mode"`
	Listen        string    `json:"listen,omitempty"` // where clients connect
	StartedAt     time.Time `json:"started_at"`
	UptimeSeconds float64   `json:"uptime_seconds"`
	Draining      bool      `json:"draining"`
}

type storeStatus struct {
	Kind               Store `json:"kind"`
	KeepsCredentialIDs bool  `json:"keeps_credential_ids"` // over a restart
}

type portalStatus struct {
	Portal           string    `json:"portal"`
	State            state     `json:"state"`
	Why              string    `json:"why"` // for people
	Plan             string    `json:"plan"`
	LastSeen         time.Time `json:"last_seen,omitzero"`
	UnreachableSince time.Time `json:"unreachable_since,omitzero"`
	unreachable      unreachable
	MovedTo          string            `json:"moved_to,omitempty"`
	Bucket           *bucketStatus     `json:"bucket"` // null: unlimited
	Queue            queueStatus       `json:"queue"`
	BreakerOpen      bool              `json:"breaker_open"`
	Usage            usageStatus       `json:"usage"`
	Operating        []operatingStatus `json:"operating"` // the fullest budgets first
	LastMinute       minuteStatus      `json:"last_minute"`
	LastFailure      string            `json:"last_failure,omitempty"` // code of the last failed call
	lastFailure      failure
	Errors           errorsStatus  `json:"errors"`
	Series           *seriesStatus `json:"series"`
}

type bucketStatus struct {
	Level    float64 `json:"level"` // calls that the portal still counts, as far as is known here
	Burst    int     `json:"burst"`
	Rate     float64 `json:"rate"` // calls per second, in use
	PlanRate float64 `json:"plan_rate"`
}

type queueStatus struct {
	Waiting      int             `json:"waiting"`
	Capacity     int             `json:"capacity"`
	WaitSeconds  float64         `json:"wait_seconds"` // of a new call, at the most
	ByUrgency    []int           `json:"by_urgency"`   // 0, the most urgent, to 7
	ByClient     []clientWaiting `json:"by_client"`    // those with most first
	OtherClients int             `json:"other_clients"`
}

type clientWaiting struct {
	Client  string `json:"client"` // a name, or what stands for a credential
	Waiting int    `json:"waiting"`
}

// usageStatus has the clients that called in the last hour, those with most calls in
// the last minute first.
type usageStatus struct {
	ByClient     []clientUse `json:"by_client"`
	OtherClients int         `json:"other_clients"` // that are remembered beside those
	Others       spansStatus `json:"others"`        // what all others used together
}

type clientUse struct {
	Client string `json:"client"` // a name, or what stands for a credential
	spansStatus
}

type spansStatus struct {
	LastMinute useStatus `json:"last_minute"`
	LastHour   useStatus `json:"last_hour"`
}

// useStatus counts what counts against the limit of a portal.
type useStatus struct {
	Calls   int32 `json:"calls"`   // that ended
	Sent    int32 `json:"sent"`    // attempts
	Refused int32 `json:"refused"` // of the calls: the proxy answered them itself, or the portal refused them to the end
}

type operatingStatus struct {
	Credential  string    `json:"credential"`
	Method      string    `json:"method"`
	UsedSeconds float64   `json:"used_seconds"`
	Ratio       float64   `json:"ratio"` // of the limit
	ResetAt     time.Time `json:"reset_at,omitzero"`
	ClosedUntil time.Time `json:"closed_until,omitzero"`
	closedFor   time.Duration
	Blocked     bool `json:"blocked"` // refused by the portal
	UnderWay    int  `json:"under_way"`
}

// minuteStatus counts the last minute and the current interval of a series.
type minuteStatus struct {
	Calls              int32   `json:"calls"`
	Failed             int32   `json:"failed"`        // by the portal, on the network, or refused here
	MethodErrors       int32   `json:"method_errors"` // answered with a method's own error
	Refused            int32   `json:"refused"`       // attempts refused by the portal's rate limit
	MostWaiting        int32   `json:"most_waiting"`
	LongestWaitSeconds float64 `json:"longest_wait_seconds"`
}

type errorsStatus struct {
	ByCode []codeStatus  `json:"by_code"` // the newest first
	Last   []errorStatus `json:"last"`    // the newest first
}

type codeStatus struct {
	Code   string         `json:"code"`
	Source metrics.Source `json:"source"` // as errors_total has it
	Count  int64          `json:"count"`
	LastAt time.Time      `json:"last_at"`
}

type errorStatus struct {
	At        time.Time      `json:"at"`
	Code      string         `json:"code"`
	Source    metrics.Source `json:"source"`
	Method    string         `json:"method,omitempty"`
	RequestID string         `json:"request_id"`
}

// seriesStatus has the intervals of the last five minutes that are over, the
// oldest first.
type seriesStatus struct {
	StepSeconds float64            `json:"step_seconds"`
	End         time.Time          `json:"end"`
	Calls       [seriesSteps]int32 `json:"calls"`
	Failed      [seriesSteps]int32 `json:"failed"`
	Waiting     [seriesSteps]int32 `json:"waiting"` // the most at one time
}

const (
	shownClients  = 10
	statusBudgets = 5
	shownName     = 64 // bytes of a client's name
)

// status describes the proxy and the portals that were called lately, the worst
// first.
func (o *Operator) status() *status {
	now, snapshot := time.Now(), o.config.Snapshot()
	s := &status{
		Time: moment(now),
		Proxy: proxyStatus{
			Version: o.config.Version, Mode: o.config.Mode, Listen: snapshot.Listen, StartedAt: moment(o.began),
			UptimeSeconds: math.Floor(now.Sub(o.began).Seconds()), Draining: snapshot.IsDraining,
		},
		Store:   storeStatus{o.config.Store, o.config.Store == InFile},
		Portals: []portalStatus{},
	}
	s.Series, s.Unrouted = o.history.overall(now)
	for _, p := range o.config.Portals(now, o.history.names()) {
		if one, isKnown := o.portalStatus(now, &p); isKnown {
			s.Portals = append(s.Portals, one)
		}
	}
	s.Known = len(s.Portals)
	slices.SortStableFunc(s.Portals, worse)
	return s
}

// portalStatus describes a portal, if it was called lately.
func (o *Operator) portalStatus(now time.Time, p *Portal) (s portalStatus, isKnown bool) {
	s = portalStatus{Portal: p.Upstream, Plan: p.Plan.String(), BreakerOpen: p.Blocked, Queue: queueOf(p), Operating: []operatingStatus{}}
	if !p.Plan.Unlimited() {
		s.Bucket = &bucketStatus{Level: roundTo(p.Level, 1), Burst: p.Plan.Burst, Rate: roundTo(p.Rate, 3), PlanRate: p.Plan.Rate}
	}
	for _, b := range p.Budgets[:min(len(p.Budgets), statusBudgets)] {
		s.Operating = append(s.Operating, operatingStatus{
			Credential: b.Credential, Method: b.Method, UsedSeconds: roundTo(b.Used.Seconds(), 1), Ratio: roundTo(b.Ratio, 3),
			ResetAt: moment(b.ResetAt), ClosedUntil: moment(b.HeldUntil), closedFor: b.HeldUntil.Sub(now), Blocked: b.Blocked, UnderWay: b.InFlight,
		})
	}
	isKnown = o.history.describe(now, &s)
	s.State, s.Why = s.judge()
	return s, isKnown
}

func queueOf(p *Portal) queueStatus {
	q := queueStatus{
		Waiting: p.waiting(), Capacity: p.Capacity, WaitSeconds: roundTo(p.Wait.Seconds(), 1),
		ByUrgency: slices.Clone(p.Waiting[:]), ByClient: []clientWaiting{},
	}
	for name, n := range p.Clients {
		q.ByClient = append(q.ByClient, clientWaiting{Client: name[:min(len(name), shownName)], Waiting: n})
	}
	slices.SortFunc(q.ByClient, func(a, b clientWaiting) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Client, b.Client))
	})
	q.OtherClients = max(0, len(q.ByClient)-shownClients)
	q.ByClient = q.ByClient[:min(len(q.ByClient), shownClients)]
	return q
}

func (o *Operator) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	encoder.Encode(o.status())
}

// waiting counts the calls that wait.
func (p *Portal) waiting() (n int) {
	for _, waiting := range p.Waiting {
		n += waiting
	}
	return n
}

// moment is an instant as it is shown. The zero instant stays.
func moment(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func roundTo(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

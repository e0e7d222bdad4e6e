package operator

import (
	"math"
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
	Kind               Store         `json:"kind"`
	KeepsCredentialIDs bool          `json:"keeps_credential_ids"` // over a restart
	Shared             *sharedStatus `json:"shared,omitempty"`     // absent: this replica shares nothing
}

type sharedStatus struct {
	Up        bool      `json:"up"`
	AwaySince time.Time `json:"away_since,omitzero"`
	awayFor   time.Duration
	Replicas  int `json:"replicas"` // this one too; while the store is away, as of when it was last reached, 0 if it never was
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
	RepeatedWrites   int64             `json:"repeated_writes,omitempty"` // that would have run twice, since the proxy began or the portal was forgotten
	LastFailure      string            `json:"last_failure,omitempty"`    // code of the last failed call
	lastFailure      failure
	Errors           errorsStatus  `json:"errors"`
	Series           *seriesStatus `json:"series"`
}

type bucketStatus struct {
	Level    float64 `json:"level"` // calls that the portal still counts, as far as is known here
	Burst    int     `json:"burst"`
	Rate     float64 `json:"rate"` // calls per second, in use
	PlanRate float64 `json:"plan_rate"`
	lowered  bool    // by refusals
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
	Joined             int32   `json:"joined"`        // reads that were sent in a batch with others
	Batches            int32   `json:"batches"`       // of them
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

// seriesSteps is how many intervals of a series are shown: five minutes.
const seriesSteps = 60

// seriesStatus has the intervals of the last five minutes that are over, the
// oldest first.
type seriesStatus struct {
	StepSeconds float64            `json:"step_seconds"`
	End         time.Time          `json:"end"`
	Calls       [seriesSteps]int32 `json:"calls"`
	Failed      [seriesSteps]int32 `json:"failed"`
	Waiting     [seriesSteps]int32 `json:"waiting"` // the most at one time
}

// The longest lists of a status, and what is shown of a name.
const (
	shownClients  = 10
	statusBudgets = 5
	shownName     = 64 // bytes of a client's name
)

// A state is how a portal does, in a word.
type state string

const (
	isBlocked     state = "blocked"     // OVERLOAD_LIMIT: nothing is let in
	isUnreachable state = "unreachable" // the last attempt did not reach it
	isFailing     state = "failing"     // calls failed in the last minute
	isHolding     state = "holding"     // calls of a method are held back for its operating time
	isSlowed      state = "slowed"      // it refuses calls for its rate limit, none failed for that
	isQueueing    state = "queueing"    // calls wait
	isOK          state = "ok"
	isIdle        state = "idle" // no calls in the last minute
)

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

package proxy

import (
	"encoding/json"
	"time"

	"b24proxy/limiter/operating"
)

// news is what an answer at one replica showed that the others should know too: how
// much operating time a method has used, or that it is refused for that, and which
// application a token is of. It has hashes of credentials, as IDs have, and a span in
// place of an instant, since the clocks of replicas may differ.
type news struct {
	Portal     string        `json:"portal,omitempty"`
	Credential string        `json:"credential,omitempty"`
	Method     string        `json:"method,omitempty"`
	Used       time.Duration `json:"used,omitempty"`
	UntilReset time.Duration `json:"until_reset,omitempty"`
	Blocked    bool          `json:"blocked,omitempty"`

	Token       string `json:"token,omitempty"`
	Application string `json:"application,omitempty"`
}

const (
	// tokenHolds is how long a token is good for.
	tokenHolds = time.Hour
	// blockHolds is for how long a method is held whose reset is not known.
	blockHolds = time.Minute
)

// worthTelling is the part of the operating limit from which the others should know
// what a method has used. Below it a method is far from being held.
const worthTelling = 0.1

// A gazette passes news between this proxy and its replicas. The nil gazette has none.
type gazette struct {
	store        SharedStore
	limit        time.Duration // of operating time
	applications *applications
	budgets      *operating.Guard
}

// newGazette begins to hear news, if there are replicas.
func newGazette(c *Config, apps *applications, budgets *operating.Guard) *gazette {
	if c.Shared == nil {
		return nil
	}
	g := &gazette{store: c.Shared, limit: c.OperatingLimit, applications: apps, budgets: budgets}
	c.Shared.Hear(g.hear)
	return g
}

// usage publishes what an answer shows of a budget.
func (g *gazette) usage(now time.Time, k operating.Key, blocked bool, u operating.Usage) {
	if g == nil || !blocked && (!u.Known || float64(u.Used) < worthTelling*float64(g.limit)) {
		return
	}
	n := news{Portal: k.Upstream, Credential: k.Credential, Method: k.Method, Blocked: blocked}
	if u.Known {
		n.Used = u.Used
		if !u.ResetAt.IsZero() {
			n.UntilReset = u.ResetAt.Sub(now)
		}
	}
	holds := n.UntilReset
	if holds <= 0 {
		holds = blockHolds
	}
	g.publish(k.Upstream+" "+k.Credential+" "+k.Method, n, holds)
}

// application publishes which application a token is of.
func (g *gazette) application(token, application string) {
	if g != nil {
		g.publish(token, news{Token: token, Application: application}, tokenHolds)
	}
}

func (g *gazette) publish(subject string, n news, holds time.Duration) {
	if text, err := json.Marshal(n); err == nil {
		g.store.Publish(subject, text, holds)
	}
}

// hear takes over what another replica has learned, some time ago.
func (g *gazette) hear(text []byte, age time.Duration) {
	var n news
	if json.Unmarshal(text, &n) != nil {
		return
	}
	now := time.Now()
	k := operating.Key{Upstream: n.Portal, Credential: n.Credential, Method: n.Method}
	switch {
	case n.Token != "":
		g.applications.add(n.Token, n.Application)
	case n.Used > 0:
		u := operating.Usage{Known: true, Used: n.Used}
		if n.UntilReset > 0 {
			u.ResetAt = now.Add(n.UntilReset - age)
		}
		g.budgets.Learn(now, k, u)
	}
	if n.Blocked {
		g.budgets.Blocked(now, k)
	}
}

package proxy

import (
	"crypto/x509"
	"log/slog"
	"net/url"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/access"
	"b24proxy/proxy/operator"
	"b24proxy/proxy/replay"
)

// Config is what a Proxy is made with. Durations and sizes must be positive.
type Config struct {
	Upstream        *url.URL              // the portal of requests that name none; may be nil
	Portals         []HostPattern         // the hosts that may be called, besides Upstream
	TunnelHosts     []HostPattern         // to which CONNECT opens blind tunnels
	Plan            limiter.Plan          // of portals that PortalPlans does not name
	PortalPlans     HostMap[limiter.Plan] // the longest match wins
	Clients         access.Clients        // that may call; none: everybody may
	QueueWait       time.Duration         // longest wait for a slot
	QueueDepth      int                   // waiting calls per portal
	InFlight        int                   // calls per portal that may be in flight; 0: any number
	ConnectTo       HostMap[string]       // host:port to dial instead of a portal
	Roots           *x509.CertPool        // trusted for portals; nil: the system's
	UpstreamTimeout time.Duration         // longest silence of a portal
	OutboundProxy   *url.URL              // towards the portals; nil: none
	MaxBody         int64                 // bytes of a request
	SpoolLimit      int64                 // bytes of all request bodies on disk
	OperatingLimit  time.Duration         // of one method; 0: calls are not held for it
	Autobatch       bool                  // reads that wait travel in one batch
	Observe         bool                  // limits are not enforced; what enforcing would have done is counted
	RepeatGuard     time.Duration         // how long a write whose result nobody received is remembered; 0: no repetition is recognized
	StateFile       StateStore            // keeps the buckets over a restart, and which writes may have run; may be nil
	Shared          SharedStore           // shares with other replicas; may be nil
	StatePath       string                // of StateFile, for the log
	Normalize       bool                  // errors get one shape
	MetricsPortals  int                   // portals with labels of their own
	PProf           bool                  // profiles on the admin handler
	CA              Certificates          // signs for portals and for names of the proxy; may be nil
	Certificate     Certificates          // of the operator's own for TLS; may be nil
	AdminHost       string                // a name under which the admin handler answers; may be empty
	Version         string
	Revision        string
	Log             *slog.Logger
	LogAllCalls     bool // a line at info for every call, not only for failed ones
}

// A SharedStore shares buckets, and the memory of writes, with other replicas. Package
// redisstore has one.
type SharedStore interface {
	limiter.Store
	replay.Shared
	Key() []byte // that all replicas have; this one's own until the store has shown it
	State() limiter.StoreState
	Watch(requested func(took time.Duration, failed bool))
	Publish(subject string, text []byte, holds time.Duration) // to the other replicas, also to those that come while it holds
	Hear(heard func(text []byte, age time.Duration))          // what they publish
}

// PlanOf is the limit of a portal.
func (c *Config) PlanOf(portal string) limiter.Plan {
	names := []string{portal}
	if c.Upstream != nil && c.Upstream.Scheme == "http" { // patterns are written without 443, its portal without 80
		bare, _ := cleanHost(portal, portalPort)
		names = append(names, portal+":80", bare)
	}
	for _, name := range names {
		if plan, ok := c.PortalPlans.find(name); ok {
			return plan.Capped()
		}
	}
	return c.Plan.Capped()
}

// mode is the setting B24PROXY_MODE.
func (c *Config) mode() operator.Mode {
	if c.Observe {
		return operator.Observe
	}
	return operator.Enforce
}

// Package proxy is a reverse proxy for the REST API of Bitrix24. A request
// goes one way: it is routed to the portal it names, waits for a slot of that
// portal, is sent, and its answer is classified and given to the caller; what
// the answer teaches goes back to the limiter, what it counts to metrics.
package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// Config is what a Proxy is told once. Durations and sizes must be positive.
type Config struct {
	Upstream        *url.URL              // one portal for requests that name none; may be nil
	Portals         []HostPattern         // the hosts that may be called, beside Upstream
	Plan            limiter.Plan          // of portals that PortalPlans does not name
	PortalPlans     HostMap[limiter.Plan] // the longest match wins
	QueueWait       time.Duration         // longest wait for a slot
	QueueDepth      int                   // waiting requests a portal
	InFlight        int                   // calls of a portal under way at once; 0: no bound
	ConnectTo       HostMap[string]       // host:port to dial in a portal's stead
	Roots           *x509.CertPool        // trusted for portals; nil: the system's
	UpstreamTimeout time.Duration         // longest silence of a portal
	OutboundProxy   *url.URL              // towards the portals; nil: none
	MaxBody         int64                 // bytes of a request
	SpoolLimit      int64                 // bytes of request bodies on disk at once
	OperatingLimit  time.Duration         // a method's budget; 0: not guarded here
	Observe         bool                  // nothing waits or is refused; what would have been is counted
	StateFile       limiter.Persister     // keeps the buckets over a restart; may be nil
	StatePath       string                // of StateFile, for the log
	Normalize       bool                  // errors are brought into one shape
	MetricsPortals  int                   // portals with labels of their own
	PProf           bool                  // profiles on the admin handler
	AdminHost       string                // a name under which the admin handler may be asked; may be empty
	Version         string
	Revision        string
	Log             *slog.Logger
	LogAllCalls     bool // a line at info for every call, not only for failed ones
}

// keptBudgets bounds the methods whose operating time is remembered.
const keptBudgets = 20_000

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

// A Proxy is an http.Handler for the calls of clients; Admin is its other face.
type Proxy struct {
	config   Config
	router   *router
	limiter  *limiter.Limiter
	budgets  *operating.Guard
	spool    *spool
	journal  journal
	operator *operator.Operator
	began    time.Time
	listen   string // where clients connect; set by Serve
	reverse  *httputil.ReverseProxy
	calls    gate // of clients; closed when the proxy drains
}

// New puts a Proxy together. It starts nothing.
func New(c Config) *Proxy {
	p := &Proxy{
		config: c,
		router: newRouter(c.Portals, c.Upstream),
		spool:  newSpool(c.SpoolLimit),
		began:  time.Now(),
		limiter: limiter.New(limiter.Config{
			Plan:      c.PlanOf,
			Depth:     c.QueueDepth,
			InFlight:  c.InFlight,
			Observe:   c.Observe,
			Persister: c.StateFile,
			Warn:      c.Log.Warn,
		}),
		budgets: operating.New(operating.Config{Limit: c.OperatingLimit, Keep: keptBudgets, MaxWaiting: c.QueueDepth}),
	}
	p.operator = operator.New(p.operatorConfig())
	p.journal = p.operator
	wire := newPortalTransport(&p.config, p.router.named)
	p.reverse = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { stripOwnHeaders(r.Out.Header, exchangeOf(r.In.Context()).id) },
		Transport: &transport{
			base:         wire,
			forget:       wire.CloseIdleConnections,
			limiter:      p.limiter,
			budgets:      p.budgets,
			applications: newApplications(),
			router:       p.router,
			journal:      p.journal,
			timeout:      c.UpstreamTimeout,
			observe:      c.Observe,
			outbound:     c.OutboundProxy != nil,
		},
		ModifyResponse: p.answer,
		ErrorHandler:   p.fail,
		BufferPool:     &buffers{},
		ErrorLog:       StdLog(c.Log, slog.LevelDebug),
	}
	return p
}

// ServeHTTP answers one call of a client.
func (p *Proxy) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	w := &answerWriter{ResponseWriter: to}
	ex := &exchange{
		id: requestID(r.Header), client: clientName(r.Header, bitrix24.Credential{Kind: "none"}),
		began: time.Now(), control: http.NewResponseController(w), isLast: isLast(r),
	}
	isIn := p.calls.enter()
	if isIn {
		defer p.calls.leave()
	}
	defer p.ended(ex, r)
	r = r.WithContext(ex.in(r.Context()))
	defer p.recovered(w, r, ex)
	if failed := p.read(w, r, ex, isIn); failed != nil {
		if r.ContentLength != 0 {
			ex.control.SetReadDeadline(time.Now().Add(restIdle))
		}
		p.fail(w, r, failed)
		return
	}
	defer ex.body.release()
	r.Body = http.NoBody             // read; the transport sends it from the exchange
	w.Header()["Content-Type"] = nil // what the portal does not say is not guessed
	p.reverse.ServeHTTP(w, r)        // panics where the answer was cut off
	ex.finished = true
	ex.control.SetWriteDeadline(time.Time{}) // the connection goes on
}

// restIdle bounds how long net/http waits for the rest of a body that is not
// wanted. It reads it before it answers, so that the connection can serve again.
const restIdle = 500 * time.Millisecond

// read finds out what a request asks for, and takes its body. What can be
// refused without the body is refused before it is read.
func (p *Proxy) read(w http.ResponseWriter, r *http.Request, ex *exchange, isIn bool) (failed *failure) {
	if hasUnclearEnd(r) {
		return newFailure(bodyEndNotClear)
	}
	if r.Method == http.MethodConnect {
		return newFailure(connectNotEnabled)
	}
	if ex.route, failed = p.router.route(r); failed != nil {
		return failed
	}
	if !isIn {
		return draining()
	}
	ex.urgency = urgency(r.Header)
	ex.identify(r, nil)
	wait := patience(r.Header, p.config.QueueWait)
	if failed = p.full(r, ex, wait); failed != nil {
		return failed
	}
	var err error
	if ex.body, err = p.spool.read(w, r, p.config.MaxBody); err != nil {
		if errors.Is(context.Cause(r.Context()), errStopped) {
			return draining()
		}
		return bodyFailure(err, p.config.MaxBody)
	}
	ex.identify(r, ex.body.head)
	ex.deadline = time.Now().Add(wait)
	return nil
}

// identify finds out who calls.
func (ex *exchange) identify(r *http.Request, body []byte) {
	ex.cred = bitrix24.FindCredential(ex.route.call, ex.route.rawQuery(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
	ex.client = clientName(r.Header, ex.cred)
}

// full is the answer to a call that would get no slot, nil if it may get one.
// It is asked before a body is read. A client that only the body names may be
// one whose calls go first.
func (p *Proxy) full(r *http.Request, ex *exchange, wait time.Duration) *failure {
	if r.ContentLength == 0 || !ex.route.call.REST() {
		return nil
	}
	ask := limiter.Request{Upstream: ex.route.portal, Client: ex.client, Urgency: ex.urgency, Wait: wait}
	if ex.client == clientName(nil, bitrix24.Credential{Kind: "none"}) {
		ask.Client = ""
	}
	if refused := p.limiter.WouldReject(ask); refused != nil {
		return rejection(refused)
	}
	return nil
}

// buffers lends the copying of answers its memory.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

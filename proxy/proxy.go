// Package proxy is a reverse proxy for the REST API of Bitrix24. A request goes one
// way: it is routed to the portal that it names, waits for a slot of that portal, and
// is sent; its answer is classified and given to the caller. What the answer shows
// goes back to the limiter, and what happened is recorded once, in the journal.
package proxy

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
	"b24proxy/proxy/access"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// keptBudgets bounds the methods whose operating time is remembered.
const keptBudgets = 20_000

// A Proxy is an http.Handler for the calls of clients. Admin is the one for operators.
type Proxy struct {
	config     Config
	secured    *tlsListener           // for clients that speak TLS
	receiver   receiver               // reads the request
	reverse    *httputil.ReverseProxy // sends it by the transport, and copies the answer
	normalizer normalizer             // makes the answer what the caller reads
	limiter    *limiter.Limiter
	budgets    *operating.Guard
	journal    journal
	operator   *operator.Operator
	overview   overview
	began      time.Time
	tunnels    *access.Tunnels
	calls      gate // of clients; closed when the proxy drains

	connections, operators *connections // of clients, and of operators
}

// New puts a Proxy together. It starts nothing.
func New(c Config) *Proxy {
	p := &Proxy{
		config:  c,
		began:   time.Now(),
		limiter: newLimiter(&c),

		connections: &connections{most: min(mostConnections, openFiles()/2), spare: spareConnections, log: c.Log},
		operators:   &connections{most: adminConnections, log: c.Log},

		budgets: operating.New(operating.Config{Limit: c.OperatingLimit, Keep: keptBudgets, MaxWaiting: c.QueueDepth}),
	}
	router, spool := newRouter(c.Portals, c.Upstream), newSpool(c.SpoolLimit, c.UpstreamTimeout)
	p.overview = overview{config: &p.config, limiter: p.limiter, budgets: p.budgets, spool: spool, calls: &p.calls}
	p.operator = operator.New(p.overview.operatorConfig())
	p.journal = p.operator
	if c.Shared != nil {
		c.Shared.Watch(p.operator.StoreRequest)
	}
	p.tunnels = access.NewTunnels()
	p.secured = newTLSListener(&p.config, p.refusal)
	apps := newApplications()
	repeats := newRepeatGuard(&p.config, apps, p.journal)
	p.receiver = receiver{
		clients: &p.config.Clients, failures: access.NewFailures(), journal: p.journal, router: router, connector: newConnector(&p.config, router, p.tunnels),
		limiter: p.limiter, spool: spool, repeats: repeats, longestWait: c.QueueWait, maxBody: c.MaxBody,
	}
	p.normalizer = normalizer{limiter: p.limiter, budgets: p.budgets, journal: p.journal, calls: &p.calls, normalize: c.Normalize}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			stripOwnHeaders(r.Out.Header, exchangeOf(r.In.Context()).id)
			p.config.Clients.Strip(r.Out.Header)
		},
		Transport:      p.newTransport(router, spool, apps, repeats),
		ModifyResponse: p.normalizer.answer,
		ErrorHandler:   p.normalizer.fail,
		BufferPool:     &buffers{size: 32 << 10, most: 32 << 10},
		ErrorLog:       StdLog(c.Log, slog.LevelDebug),
	}
	return p
}

func newLimiter(c *Config) *limiter.Limiter {
	config := limiter.Config{
		Plan:      c.PlanOf,
		Depth:     c.QueueDepth,
		InFlight:  c.InFlight,
		Observe:   c.Observe,
		Persister: c.StateFile,
		Warn:      c.Log.Warn,
	}
	if c.Shared != nil {
		config.Store = c.Shared
	}
	return limiter.New(config)
}

func (p *Proxy) newTransport(router *router, spool *spool, apps *applications, repeats *repeatGuard) *transport {
	base, seen := newPortalTransport(&p.config, router.named), newExperience()
	t := &transport{
		admitter: admitter{limiter: p.limiter, budgets: p.budgets, applications: apps, observe: p.config.Observe},
		sender: sender{
			base:     base,
			forget:   base.CloseIdleConnections,
			timeout:  p.config.UpstreamTimeout,
			outbound: p.config.OutboundProxy != nil,
			learner:  learner{applications: apps, budgets: p.budgets, experience: seen, gazette: newGazette(&p.config, apps, p.budgets), journal: p.journal},
			journal:  p.journal,
		},
		resender: resender{router: router, journal: p.journal, observe: p.config.Observe},
		repeats:  repeats,
		journal:  p.journal,
	}
	t.joiner = &joiner{byDefault: p.config.Autobatch, admitter: &t.admitter, sender: &t.sender, experience: seen, spool: spool, journal: p.journal}
	return t
}

// ServeHTTP answers one call of a client.
func (p *Proxy) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	recorded := handled(r.Context())
	if p.config.Clients.Any() {
		r.Header.Del("B24-Client") // the key names the client
	}
	w := &answerWriter{ResponseWriter: to}
	ex := &exchange{
		id: requestID(r.Header), client: clientName(r.Header, bitrix24.Credential{Kind: bitrix24.CredentialNone}),
		began: time.Now(), control: http.NewResponseController(w), head: recorded, isLast: isLast(r, recorded) || isExcess(r),
	}
	isIn := p.calls.enter()
	if isIn {
		defer p.calls.leave()
	}
	defer func() {
		ex.write.end(ex.finished && ex.failed == nil)
		if ex.tunnel == nil || ex.failed != nil {
			record(p.journal, ex.ended(r.Method))
		}
	}()
	r = r.WithContext(ex.in(r.Context()))
	defer p.recovered(w, r, ex)
	if failed := p.receiver.receive(w, r, ex, isIn); failed != nil {
		if r.ContentLength != 0 || ex.isLast {
			linger(r.Context())
			ex.control.SetReadDeadline(time.Now().Add(restIdle))
		}
		p.fail(w, r, failed)
		return
	}
	if ex.tunnel != nil {
		p.openTunnel(w, r, ex)
		return
	}
	defer ex.body.release()
	r.Body = http.NoBody      // it is read; the transport sends it from the exchange
	p.reverse.ServeHTTP(w, r) // panics where the answer was cut off
	ex.finished = true
	ex.control.SetWriteDeadline(time.Time{}) // the connection may be used again
}

// recovered ends a call whose handler panicked, with an error unless a part of an
// answer has been written already. It must be deferred.
func (p *Proxy) recovered(w *answerWriter, r *http.Request, ex *exchange) {
	cause := recover()
	switch cause {
	case nil:
		return
	case http.ErrAbortHandler: // net/http cuts the connection, in silence
		panic(cause)
	}
	f := panicked(p.journal, ex.call(r.Method), cause)
	if ex.attempts == 0 {
		f = newFailure(panickedBeforeSending)
	}
	if w.wrote {
		ex.failed = f
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	p.fail(w, r, f)
}

// Admin serves operators: the status page, metrics and health.
func (p *Proxy) Admin() http.Handler { return withoutPanics(p.journal, p.operator.Handler()) }

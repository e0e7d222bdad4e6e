package b24sim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// maxBody is the longest request body; a longer one gets nginx's page for 413.
const maxBody = 256 << 20

// exchange is one request on its way through the portal.
type exchange struct {
	p       *Portal
	r       *http.Request
	config  Config
	addr    address
	body    []byte
	params  *array // query and body
	cred    credential
	call    *Call
	started time.Duration // virtual
	slow    time.Duration // added by faults, virtual
	inner   time.Duration // of the commands in a batch, virtual
	waited  time.Duration // of slow, inside a batch
	replay  bool          // answered from the store of idempotency keys
	fault   *Fault

	leftover string // a code that the errors of later commands get
	dead     bool   // PHP died within a batch
}

// ServeHTTP answers one request. A request that arrived completely runs, even if
// its caller has left.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, r: r, config: p.Config(), addr: parseAddress(r.URL.Path)}
	var err error
	x.body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	x.call = x.newCall()
	if err != nil {
		x.unreadable(w, err)
		return
	}
	p.lag()
	x.started = p.virtualNow()
	a := x.answer()
	x.send(w, a)
}

func (p *Portal) virtualNow() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock.now()
}

func (x *exchange) newCall() *Call {
	c := &Call{
		Remote:    remoteIP(x.r),
		Verb:      x.r.Method,
		Host:      x.r.Host,
		Path:      x.r.URL.EscapedPath(),
		Query:     x.r.URL.RawQuery,
		Header:    x.r.Header.Clone(),
		Body:      clip(x.body),
		BodyBytes: len(x.body),
		Version:   x.addr.version,
		Method:    x.addr.method,
	}
	c.secret(x.addr.code)
	if method := c.Method; c.Version != 0 && !known(c.Version, method) && !strings.Contains(method, ".") {
		c.secret(method)
		c.secret(path.Base(x.r.URL.Path)) // in its own spelling
	}
	return c
}

// unreadable ends a request whose body broke off or is too long. nginx collects
// the body before it passes a request on, so such a call is logged, but not
// counted and not run.
func (x *exchange) unreadable(w http.ResponseWriter, err error) {
	x.call.Incomplete = true
	x.p.arrive(x.call, false)
	status := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	x.send(w, nginxPage(status))
}

// answer returns the answer to the request.
func (x *exchange) answer() answer {
	if location := x.renamed(); location != "" {
		x.p.arrive(x.call, false)
		a := nginxPage(http.StatusFound)
		a.header = http.Header{"Location": {location}}
		return a
	}
	if !x.p.arrive(x.call, x.addr.rest) {
		return x.errorAnswer(fail(codeQueryLimit))
	}
	if x.addr.rest {
		x.slow, x.fault = x.p.strike(x.addr.method, false)
	}
	if x.fault != nil {
		x.p.update(x.call, func(c *Call) { c.Fault = x.fault.String() })
		if !x.fault.runs() {
			x.p.sleep(x.slow, x.r.Context().Done())
			return x.spoil(x.errorAnswer(fail(codeInternal)))
		}
	}
	a := x.run()
	if x.fault != nil {
		a = x.spoil(a)
	}
	return a
}

// run does what the request asks for.
func (x *exchange) run() answer {
	if !x.addr.rest {
		return x.site()
	}
	var err error
	x.params, err = params(x.r, x.body, inputFilter(x.config.Filter))
	if x.addr.version == 2 {
		x.params = x.params.renumbered()
	}
	x.noteSecrets()
	if x.params.has("token") && x.addr.method != "" {
		return x.file()
	}
	if err != nil {
		if x.addr.version == 3 {
			return x.errorAnswer(invalid("body", "The request body is not valid"))
		}
		return x.errorAnswer(&failure{code: "ERROR_ARGUMENT", text: "The request body is not valid", status: 400})
	}
	cred, f := x.authorize()
	if f != nil {
		return x.errorAnswer(f)
	}
	x.cred = cred
	a := x.callMethod()
	a.header = make(http.Header)
	if cred.kind == kindOAuth {
		a.header.Set("X-Bitrix-Rest-Application", cred.app)
	}
	if x.replay {
		a.header.Set("Idempotent-Replayed", "true")
	}
	return a
}

// callMethod runs the method, waits for the time that it takes, adds that to the
// budget and returns the result.
func (x *exchange) callMethod() answer {
	method := x.addr.method
	if !known(x.addr.version, method) {
		return x.errorAnswer(fail(codeMethodNotFound))
	}
	if x.blocked(method) {
		return x.errorAnswer(fail(codeOperatingTime))
	}
	reply, f := x.once(func() (*array, *failure) {
		switch {
		case method != "batch":
			return x.perform(command{method: method, params: x.params})
		case x.addr.version == 3:
			return x.batch3()
		default:
			return x.batch2()
		}
	})
	x.p.sleep(x.config.Latency+x.slow-x.waited, x.r.Context().Done())
	if f != nil {
		x.book(method, x.took(method))
		return x.errorAnswer(f)
	}
	reply = reply.clone()
	x.sign(reply)
	if !reply.has("openapi") {
		reply.set("time", x.timeObject(method, x.started, 0))
	}
	x.book(method, x.took(method))
	return x.jsonOrXML(http.StatusOK, reply)
}

// sign adds the signature that three methods of v2 give a caller who sends a state. A
// batch loses it.
func (x *exchange) sign(reply *array) {
	state := x.params.text("state")
	if state == "" || x.addr.version != 2 || !slices.Contains([]string{"app.info", "profile", "user.current"}, x.addr.method) {
		return
	}
	sum := sha256.Sum256([]byte(x.addr.method + state))
	reply.set("signature", hex.EncodeToString(sum[:]))
}

package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"b24proxy/proxy/operator"
)

// recognize finds out which client a request is from, by its key. Without
// B24PROXY_CLIENT_KEYS everybody may call. It looks at the header alone, before the
// body is read, and lets those wait who guess keys.
func (rc *receiver) recognize(r *http.Request, ex *exchange) *failure {
	name, tried := callerOf(r.Context()), false
	if name == "" && rc.clients.Any() {
		name, tried = rc.clients.Caller(r.Header)
	}
	switch {
	case name != "":
		r.Header.Set("B24-Client", name) // for fairness, log and metrics it is the client's name
		ex.client = name
		return nil
	case !rc.clients.Any():
		return nil
	}
	to, _ := rc.router.route(r)
	ex.route.call = to.call // says whether the error is to be XML
	rc.reportRefused(r, ex, tried)
	if tried && !rc.failures.Slow(r.Context()) {
		ex.isLast = true // the next guess needs another connection
	}
	return clientNotAllowed(r, tried)
}

// reportRefused records a request without a valid key, once a minute for its address.
func (rc *receiver) reportRefused(r *http.Request, ex *exchange, tried bool) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	if n := rc.failures.Count(time.Now(), from.Addr()); n > 0 {
		rc.journal.Record(operator.ClientsRefused{Call: ex.call(r.Method), Address: from.Addr(), Tried: tried, Requests: n})
	}
}

// clientNotAllowed returns the error for a request without a valid key. A client that
// speaks to a proxy expects another status than one that speaks to a server.
func clientNotAllowed(r *http.Request, tried bool) *failure {
	id, what := noKeyForServer, "The request carries no client key"
	if r.Method == http.MethodConnect || r.URL.IsAbs() || r.Header.Get("Proxy-Authorization") != "" {
		id = noKeyForProxy
	}
	if tried {
		what = "The client key is not valid"
	}
	return newFailure(id, what)
}

// challenge asks the caller for a key, in the answer to a request without one.
func challenge(h http.Header, f *failure) {
	const basic = `Basic realm="b24proxy"`
	switch {
	case f.code != codeClientNotAllowed:
	case f.status == http.StatusProxyAuthRequired:
		h.Set("Proxy-Authenticate", basic)
	default:
		h.Set("WWW-Authenticate", basic)
	}
}

// callerOf returns the client who has opened the tunnel over which a request came, or
// "". The requests in it need no key.
func callerOf(ctx context.Context) string {
	if t := tunnelOf(ctx); t != nil {
		return t.client
	}
	return ""
}

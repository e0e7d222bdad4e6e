package proxy

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"b24proxy/proxy/bitrix24"
)

// A route is where a request goes: the portal it names, and the address there,
// byte for byte as the client wrote it.
type route struct {
	portal string // host, or host:port: the name of the bucket and the label
	scheme string
	path   string // raw, begins with a slash
	query  string // raw, with its question mark, "" where there is none
	call   bitrix24.Call
	direct bool // the client addresses the portal itself, not the proxy
}

// A router finds out which portal a request names. It is the only place that
// reads addresses.
type router struct {
	allowed  HostMap[struct{}]
	upstream *url.URL // nil: every request names its portal
}

// newRouter allows the given hosts, and the upstream.
func newRouter(allowed []HostPattern, upstream *url.URL) *router {
	r := &router{upstream: upstream}
	for _, p := range allowed {
		r.allowed = append(r.allowed, HostEntry[struct{}]{Pattern: p})
	}
	return r
}

// route reads the first that applies: an absolute-form target, the header
// B24-Portal, a first path segment that is an allowed host, the Host header,
// the upstream.
func (r *router) route(req *http.Request) (route, *failure) {
	raw := req.RequestURI
	if req.URL.IsAbs() { // as for http_proxy
		if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
			return route{call: callAt(raw)}, notNamed
		}
		_, after, _ := strings.Cut(raw, "://")
		authority, path := cutAt(after, "/?")
		if path == "" || path[0] == '?' {
			path = "/" + path
		}
		_, host, found := strings.Cut(authority, "@")
		if !found {
			host = authority
		}
		return direct(r.to(host, path))
	}
	if name := strings.TrimSpace(req.Header.Get("B24-Portal")); name != "" {
		return r.to(name, raw)
	}
	segment, rest := cutAt(strings.TrimLeft(raw, "/"), "/?")
	if host, err := cleanHost(segment); err == nil {
		if r.allows(host) {
			return r.to(host, "/"+strings.TrimPrefix(rest, "/"))
		}
		// Nothing but a portal's name stands before /rest/ and has a dot.
		if next, _ := cutAt(strings.TrimLeft(rest, "/"), "/?"); strings.Contains(host, ".") && next == "rest" {
			return route{call: callAt(rest)}, notAllowed(host)
		}
	}
	if host, err := cleanHost(req.Host); err == nil && r.allows(host) {
		return direct(r.to(host, raw))
	}
	if r.upstream != nil {
		host, err := cleanHost(r.upstream.Host)
		if err != nil {
			host = r.upstream.Host
		}
		return newRoute(r.upstream.Scheme, host, raw), nil
	}
	if host, err := cleanHost(req.Host); err == nil && looksPublic(host) {
		return route{call: callAt(raw)}, notAllowed(host)
	}
	return route{call: callAt(raw)}, notNamed
}

func direct(to route, failed *failure) (route, *failure) {
	to.direct = true
	return to, failed
}

// to is a route to a host that the request names.
func (r *router) to(name, raw string) (route, *failure) {
	host, err := cleanHost(name)
	if err != nil || !r.allows(host) {
		return route{call: callAt(raw)}, notAllowed(name)
	}
	scheme := "https"
	if r.isUpstream(host) {
		scheme = r.upstream.Scheme
	}
	return newRoute(scheme, host, raw), nil
}

func (r *router) allows(host string) bool {
	_, ok := r.allowed.find(host)
	return ok || r.isUpstream(host)
}

func (r *router) isUpstream(host string) bool {
	if r.upstream == nil {
		return false
	}
	clean, err := cleanHost(r.upstream.Host)
	return err == nil && clean == host
}

func newRoute(scheme, host, raw string) route {
	path, query := cutAt(raw, "?")
	return route{portal: host, scheme: scheme, path: path, query: query, call: callAt(raw)}
}

func callAt(raw string) bitrix24.Call {
	path, _ := cutAt(raw, "?")
	return bitrix24.ParseCall(path)
}

func (r route) rawQuery() string { return strings.TrimPrefix(r.query, "?") }

// url is the route's address for net/http, which sends path and query as they
// came: Path where its escaping is the client's own, else Opaque, which net/http
// leaves alone. A path of two slashes cannot stand in Opaque by itself, so there
// the whole address does.
func (r route) url() *url.URL {
	u := &url.URL{Scheme: r.scheme, Host: r.portal}
	u.RawQuery = r.rawQuery()
	u.ForceQuery = r.query == "?"
	if path, err := url.PathUnescape(r.path); err == nil {
		u.Path, u.RawPath = path, r.path
		if u.EscapedPath() == r.path {
			return u
		}
	}
	u.Path, u.RawPath, u.Opaque = "", "", r.path
	if strings.HasPrefix(r.path, "//") {
		u.Opaque = r.scheme + "://" + r.portal + r.path
	}
	return u
}

// cutAt splits s before the first of the characters.
func cutAt(s, characters string) (before, from string) {
	if i := strings.IndexAny(s, characters); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// looksPublic tells whether a Host header names something in the world, not
// the proxy by its address or its name in a local network.
func looksPublic(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return net.ParseIP(strings.Trim(name, "[]")) == nil && strings.Contains(name, ".")
}

// The failures of a request that goes nowhere.
var notNamed = &failure{
	outcome: rejected, executed: bitrix24.No,
	status: http.StatusBadRequest, code: "PORTAL_NOT_NAMED", reason: "portal_not_named",
	description: "The request names no portal. Name it in the header B24-Portal, as the first path segment (/acme.bitrix24.com/rest/...), or as Host; or set B24PROXY_UPSTREAM.",
}

var connectNotEnabled = &failure{
	outcome: rejected, executed: bitrix24.No,
	status: http.StatusNotImplemented, code: "CONNECT_NOT_ENABLED", reason: "connect_not_enabled",
	description: "CONNECT is not enabled. Address the proxy itself: name the portal in the header B24-Portal or as the first path segment.",
}

// notAllowed repeats a name only where it surely is one: somebody may have put
// a webhook code in its place.
func notAllowed(name string) *failure {
	shown, requested := "The portal", ""
	if host, err := cleanHost(name); err == nil && strings.ContainsAny(host, ".:") {
		shown, requested = shown+" "+host, host
	}
	return &failure{
		outcome: rejected, executed: bitrix24.No, requested: requested,
		status: http.StatusForbidden, code: "PORTAL_NOT_ALLOWED", reason: "portal_not_allowed",
		description: shown + " is not allowed here. Portals are listed in B24PROXY_PORTALS (by default the cloud zones of Bitrix24), a port only where the list names it.",
	}
}

package proxy

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"b24proxy/proxy/bitrix24"
)

// A route says where a request is sent: to the portal that it names, at the address
// that the client wrote, byte for byte.
type route struct {
	portal string // host, or host:port; also the name of the bucket and the label
	scheme string
	path   string // raw, begins with a slash
	query  string // raw, with its question mark; "" if there is none
	call   bitrix24.Call
	direct bool // the client addresses the portal itself, not the proxy
}

// A router finds out which portal a request names. Nothing else reads addresses.
type router struct {
	allowed  HostMap[struct{}]
	upstream *url.URL // nil: every request names its portal
	host     string   // the upstream's, as cleanHost returns it; "" without an upstream

	hostName, hostPort string // the same in parts, the port "" if it is the default
}

// newRouter allows the given hosts, and the upstream.
func newRouter(allowed []HostPattern, upstream *url.URL) *router {
	r := &router{upstream: upstream}
	for _, p := range allowed {
		r.allowed = append(r.allowed, HostEntry[struct{}]{Pattern: p})
	}
	if upstream != nil {
		name, port, _ := cleanParts(upstream.Host)
		r.hostName, r.hostPort = name, unlessDefault(port, defaultPort(upstream.Scheme))
		r.host, _ = cleanHost(upstream.Host, defaultPort(upstream.Scheme))
	}
	return r
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return portalPort
}

// route uses the first of these that names a portal: a target in absolute form, the
// header B24-Portal, a first path segment that is an allowed host, the header Host,
// the upstream.
func (r *router) route(req *http.Request) (route, *failure) {
	raw := req.RequestURI
	if raw == "*" { // OPTIONS for the server as a whole
		return route{}, newFailure(portalNotNamed)
	}
	if req.URL.IsAbs() { // the proxy is used as http_proxy
		return r.byTarget(req.URL.Scheme, raw)
	}
	// A header that is there twice is a list (RFC 9110, section 5.3), which names no host.
	if name := strings.Trim(strings.Join(req.Header.Values("B24-Portal"), ","), " \t"); name != "" {
		return r.toNamed(name, raw)
	}
	segment, rest := cutAt(strings.TrimLeft(raw, "/"), "/?")
	if scheme, host, ok := r.portal(segment); ok {
		return newRoute(scheme, host, "/"+strings.TrimPrefix(rest, "/")), nil
	}
	if looksLikeHost(segment) && callAt(rest).REST() {
		return route{call: callAt(rest)}, notAllowed(segment)
	}
	return r.byHost(req, raw)
}

// byTarget routes a request in absolute form. A port is part of the name, unless it
// is the default port of the scheme.
func (r *router) byTarget(scheme, raw string) (route, *failure) {
	if scheme != "http" && scheme != "https" {
		return route{call: callAt(raw)}, newFailure(portalNotNamed)
	}
	_, after, _ := strings.Cut(raw, "://")
	authority, path := cutAt(after, "/?")
	if path == "" || path[0] == '?' {
		path = "/" + path
	}
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	to, failed := r.toNamed(host, path, defaultPort(scheme))
	to.direct = true
	return to, failed
}

// byHost routes a request by its Host header. The port at which the request came in
// is ignored. A Host that looks like that of a portal does not lead to the upstream,
// which is another portal.
func (r *router) byHost(req *http.Request, raw string) (route, *failure) {
	ports := ownPorts(req)
	if scheme, host, ok := r.portal(req.Host, ports...); ok {
		to := newRoute(scheme, host, raw)
		to.direct = true
		return to, nil
	}
	host, err := cleanHost(req.Host, portalPort)
	host = withoutPort(host, ports...)
	switch {
	case req.Host != "" && (err != nil || r.looksLikePortal(host)):
		return route{call: callAt(raw)}, notAllowed(req.Host)
	case r.upstream != nil:
		return newRoute(r.upstream.Scheme, r.host, raw), nil
	case looksPublic(host):
		return route{call: callAt(raw)}, notAllowed(req.Host)
	}
	return route{call: callAt(raw)}, newFailure(portalNotNamed)
}

// ownPorts returns the ports that may mean this proxy in a Host header: the one at
// which the request came in, and the default port of its scheme.
func ownPorts(req *http.Request) []string {
	ports := []string{"80"}
	if req.TLS != nil {
		ports[0] = "443"
	}
	if local, ok := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		ports = append(ports, strconv.Itoa(local.Port))
	}
	return ports
}

// toNamed is a route toNamed a host that the request names.
func (r *router) toNamed(name, raw string, silent ...string) (route, *failure) {
	scheme, host, ok := r.portal(name, silent...)
	if !ok {
		return route{call: callAt(raw)}, notAllowed(name)
	}
	return newRoute(scheme, host, raw), nil
}

// portal returns the portal that a name means, and reports whether it may be called.
// It tries the name as it is written, then without one of the silent ports.
func (r *router) portal(name string, silent ...string) (scheme, host string, ok bool) {
	clean, port, ok := cleanParts(name)
	if !ok {
		return "", "", false
	}
	if scheme, host, ok := r.exactly(clean, port); ok {
		return scheme, host, true
	}
	if withoutPort(name, silent...) != name {
		return r.exactly(clean, "")
	}
	return "", "", false
}

// exactly is portal for a name in parts, as cleanParts returns them.
func (r *router) exactly(name, port string) (scheme, host string, ok bool) {
	if r.upstream != nil && name == r.hostName && unlessDefault(port, defaultPort(r.upstream.Scheme)) == r.hostPort {
		return r.upstream.Scheme, r.host, true
	}
	host = joinParts(name, port, portalPort)
	_, ok = r.allowed.find(host)
	return "https", host, ok
}

// named reports whether the settings name a host itself, with any port: as the
// upstream, or on the list without a "*.".
func (r *router) named(host string) bool {
	clean, err := cleanHost(host, portalPort)
	name := hostOnly(clean)
	return err == nil && (name == hostOnly(r.host) || slices.ContainsFunc(r.allowed, func(e HostEntry[struct{}]) bool {
		return !e.Pattern.wildcard && hostOnly(e.Pattern.host) == name
	}))
}

// withoutPort removes the port from a host if it is one of the given ones.
func withoutPort(host string, ports ...string) string {
	if _, port, hasPort := splitPort(host); hasPort && slices.Contains(ports, port) {
		return strings.TrimSuffix(host, ":"+port)
	}
	return host
}

// belowZone matches the names that Bitrix24 gives to portals, even in zones that the
// list does not have.
var belowZone = regexp.MustCompile(`\.bitrix24\.(?:com?\.)?[a-z0-9-]+$`)

// looksLikePortal reports whether a clean host that is not allowed is nevertheless
// that of a portal: one of the cloud, or one that is listed with another port. An IP
// address and localhost may be those of the proxy.
func (r *router) looksLikePortal(host string) bool {
	name := hostOnly(host)
	if _, isIP := parseIP(name); isIP || isLocalhost(name) {
		return false
	}
	if belowZone.MatchString(name) || slices.ContainsFunc(CloudPortals(), func(zone HostPattern) bool { return zone.host == "."+name }) {
		return true
	}
	return name != host && name == hostOnly(r.host) || slices.ContainsFunc(r.allowed, func(e HostEntry[struct{}]) bool {
		return HostPattern{hostOnly(e.Pattern.host), e.Pattern.wildcard}.matches(name)
	})
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

// url returns the route's address in a form from which net/http sends path and query
// unchanged. That is Path if net/url keeps how the client escaped it, and else Opaque.
// Opaque cannot begin with two slashes, so such a path is put there with the whole
// address. An outbound proxy needs the whole address of a portal without TLS, and
// net/http writes that unchanged, too.
func (r route) url(isOutbound bool) *url.URL {
	u := &url.URL{Scheme: r.scheme, Host: r.portal, RawQuery: r.rawQuery(), ForceQuery: r.query == "?"}
	if path, err := url.PathUnescape(r.path); err == nil {
		u.Path, u.RawPath = path, r.path
		if u.EscapedPath() == r.path {
			return u
		}
	}
	u.Path, u.RawPath, u.Opaque = "", "", r.path
	switch {
	case isOutbound && r.scheme == "http":
		u.Opaque = "//" + r.portal + r.path
	case strings.HasPrefix(r.path, "//"):
		u.Opaque = r.scheme + "://" + r.portal + r.path
	}
	return u
}

// cutAt splits s before the first of the given characters.
func cutAt(s, characters string) (before, from string) {
	if i := strings.IndexAny(s, characters); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// looksPublic reports whether a clean host is a name of the public DNS, and not an
// address or a local name, which may be those of the proxy.
func looksPublic(host string) bool {
	_, isIP := parseIP(hostOnly(host))
	return !isIP && strings.Contains(host, ".")
}

var plainSegment = regexp.MustCompile(`^(?:[A-Za-z0-9_-]*|\.+)$`)

// looksLikeHost reports whether a first path segment before /rest/ must be meant as
// a host, since it cannot be part of an address at a portal.
func looksLikeHost(segment string) bool { return !plainSegment.MatchString(segment) }

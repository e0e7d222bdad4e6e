package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxMoves bounds how often one call is redirected.
const maxMoves = 5

// moved reports whether an answer redirects the call to another address. Then nothing
// has run, and the call is sent there unchanged. A client that follows the redirect
// itself turns its POST into a GET (bitrix24/README.md#renamed-portals).
//
// A client that addresses the portal itself gets the redirect, so that it learns the
// new name.
func (r *router) moved(ex *exchange, resp *http.Response) (to route, moved bool, failed *failure) {
	if !isRedirect(resp.StatusCode) || !ex.route.call.REST() || ex.route.direct {
		return route{}, false, nil
	}
	to, failed = r.follow(ex.route, resp)
	if ex.moves++; failed == nil && (ex.moves > maxMoves || to.at(ex.route)) {
		failed = newFailure(redirectsInACircle)
	}
	if failed != nil {
		failed.portalStatus = resp.StatusCode
	}
	return to, failed == nil, failed
}

func isRedirect(status int) bool {
	return 300 <= status && status < 400 && status != http.StatusNotModified
}

// keepsMethod are the redirects that are followed with the same method and body. 302
// is one of them, since renamed portals send it.
var keepsMethod = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// at reports whether two routes have the same address.
func (r route) at(o route) bool {
	return r.scheme == o.scheme && r.portal == o.portal && r.path == o.path
}

// follow returns the route of a call after a redirect. The call keeps its query,
// whether or not the redirect repeats it.
func (r *router) follow(from route, resp *http.Response) (route, *failure) {
	base := &url.URL{Scheme: from.scheme, Host: from.portal, Path: decoded(from.path), RawPath: from.path}
	location, err := base.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || !slices.Contains(keepsMethod, resp.StatusCode) {
		return route{}, newFailure(redirectsElsewhere)
	}
	path, isSame := samePath(from.path, location.EscapedPath())
	if !isSame {
		return route{}, newFailure(redirectsElsewhere)
	}
	return r.elsewhere(from, location, path+from.query)
}

// samePath reports whether a redirect leads to the call's own path, once both are
// decoded and without a slash at their ends. It returns that path as the call has
// it, with a slash at the end if the redirect has one.
func samePath(own, other string) (path string, isSame bool) {
	short := strings.TrimSuffix(own, "/")
	if decoded(short) != decoded(strings.TrimSuffix(other, "/")) {
		return "", false
	}
	if strings.HasSuffix(other, "/") {
		return short + "/", true
	}
	return short, true
}

// decoded returns a path without its escapes, or unchanged if they are malformed.
func decoded(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}

// elsewhere returns the route to the address to which a portal redirects a call. A
// portal cannot lead calls to a host off the list, to one without TLS, or to one that
// only the callers of the upstream may reach.
func (r *router) elsewhere(from route, to *url.URL, raw string) (route, *failure) {
	scheme := to.Scheme
	host, err := cleanHost(to.Host, defaultPort(scheme))
	if host == from.portal && scheme == "http" { // a server behind a TLS proxy may believe this
		scheme = from.scheme
	}
	_, isListed := r.allowed.find(host)
	isWithin := r.isUpstream(from.scheme, from.portal)
	switch {
	case to.User != nil || scheme != "http" && scheme != "https":
		return route{}, newFailure(redirectNotFollowed)
	case isWithin && r.isUpstream(scheme, host):
		return newRoute(scheme, host, raw), nil
	case !isWithin && r.isUpstreamHost(host) && (!isListed || r.upstream.Scheme == "http"):
		return route{}, newFailure(redirectNotFollowed)
	case err != nil || !isListed:
		return route{}, renamedTo(from.portal, to.Host)
	case scheme != "https" || hostOnly(host) != hostOnly(from.portal) && isPrivateIP(host):
		return route{}, newFailure(redirectNotFollowed)
	}
	return newRoute(scheme, host, raw), nil
}

// isUpstream reports whether an address is that of the upstream: as it is set, or
// with TLS if it is set without.
func (r *router) isUpstream(scheme, host string) bool {
	switch {
	case r.upstream == nil:
		return false
	case scheme == r.upstream.Scheme && host == r.host:
		return true
	}
	return r.upstream.Scheme == "http" && scheme == "https" && host == withoutPort(r.host, portOf(r.host))
}

// isUpstreamHost reports whether a clean host is that of the upstream, at any port.
func (r *router) isUpstreamHost(host string) bool {
	return r.upstream != nil && hostOnly(host) == hostOnly(r.host)
}

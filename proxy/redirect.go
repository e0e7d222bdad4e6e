package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxMoves bounds how often one call is redirected.
const maxMoves = 5

// moved reports whether an answer says that the same call belongs elsewhere:
// then it goes there as it is, and nothing has run. A client that followed the
// redirect itself would turn its POST into a GET (documented).
//
// Clients who address the portal themselves get the redirect, to learn the new
// name.
func (t *transport) moved(ex *exchange, resp *http.Response) (to route, moved bool, failed *failure) {
	if !isRedirect(resp.StatusCode) || !ex.route.call.REST() || ex.route.direct {
		return route{}, false, nil
	}
	to, failed = t.router.follow(ex.route, resp)
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

// keepsMethod are the redirects after which a call is the same. 302 stands among
// them since portals send it when they are renamed.
var keepsMethod = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// at reports whether two routes have the same address.
func (r route) at(o route) bool {
	return r.scheme == o.scheme && r.portal == o.portal && r.path == o.path
}

// follow returns where a call goes after a redirect. Its query stays, whether the
// redirect repeats it or not.
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

// samePath returns a call's own path, with a slash at its end where the redirect
// has one, and reports whether the redirect has that path, decoded.
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

// decoded is a path without its escapes, or as it is where they are broken.
func decoded(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}

// elsewhere is a route to the address to which a portal redirects a call. No
// portal leads calls off the list, off TLS or to what only the upstream's own
// callers reach.
func (r *router) elsewhere(from route, to *url.URL, raw string) (route, *failure) {
	scheme := to.Scheme
	host, err := cleanHost(to.Host, defaultPort(scheme))
	if host == from.portal && scheme == "http" { // servers behind TLS call themselves so
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

// isUpstream reports whether an address is the upstream's own: as it is set, or over
// TLS where it is set without.
func (r *router) isUpstream(scheme, host string) bool {
	switch {
	case r.upstream == nil:
		return false
	case scheme == r.upstream.Scheme && host == r.host:
		return true
	}
	return r.upstream.Scheme == "http" && scheme == "https" && host == withoutPort(r.host, portOf(r.host))
}

// isUpstreamHost reports whether a clean host is the upstream's, at any port.
func (r *router) isUpstreamHost(host string) bool {
	return r.upstream != nil && hostOnly(host) == hostOnly(r.host)
}

func isPrivateIP(host string) bool {
	ip, err := netip.ParseAddr(hostOnly(host))
	return err == nil && !isPublic(ip)
}

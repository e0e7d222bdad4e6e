package operator

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// privateSuffixes end host names that nobody can register for everybody to resolve:
// by RFC 6761 (localhost, test), 6762 (local), 8375 (home.arpa), by a promise of
// ICANN (internal; home, corp and mail are put off for good), or because there is
// no such top-level domain (lan, intranet, private, and svc of Kubernetes).
// cluster.local is below local.
var privateSuffixes = []string{".localhost", ".test", ".local", ".home.arpa", ".internal", ".home", ".corp", ".mail", ".lan", ".intranet", ".private", ".svc"}

const wrongName = "403: the admin listener does not answer under this host name, so that no other website can read it (DNS rebinding).\n" +
	"Use its IP address, a name without dots such as localhost, a name below .internal, .local, .home.arpa, .lan or .svc,\n" +
	"or the host name in B24PROXY_ADMIN_LISTEN.\n"

const wrongPage = "403: the request comes from a page of another website. Open the address of the admin listener itself.\n"

// guarded answers those who address the admin listener itself. It refuses pages
// of other websites that a browser has open: such a page could point a host name
// of its own at the listener and read the answers.
func guarded(h http.Handler, adminHost string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		r.Header.Del("Range") // else net/http answers some with an error that may be stored
		switch {
		case !isPrivateName(r.Host, adminHost):
			http.Error(w, wrongName, http.StatusForbidden)
		case isForeign(r):
			http.Error(w, wrongPage, http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// isPrivateName reports whether a Host header has a name that nobody else can
// point at the listener: an address, a name without dots, one below a suffix that
// nobody can register, or the one that was set. Browsers always send a Host;
// health checks with HTTP/1.0 may not.
func isPrivateName(host, set string) bool {
	name := host
	if before, _, err := net.SplitHostPort(host); err == nil {
		name = before
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") && !strings.Contains(name, ":") {
		return true
	}
	for _, suffix := range privateSuffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return set != "" && name == strings.ToLower(strings.TrimSuffix(set, "."))
}

// isForeign reports whether a page of another website makes the request. A link
// there that leads here may be followed.
func isForeign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		from, err := url.Parse(origin)
		return err != nil || !strings.EqualFold(from.Host, r.Host)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	isLink := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return (site == "cross-site" || site == "same-site") && !isLink
}

// clientOf is the address of a client, with IPv6 its network of 64 bits, all of
// which one client may use.
func clientOf(r *http.Request) netip.Prefix {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	address, bits := remote.Addr().Unmap().WithZone(""), 32
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits)
	return network
}

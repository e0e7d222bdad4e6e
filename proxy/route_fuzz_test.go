package proxy

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// Whatever a request names, it is refused or leads to a portal that may be called, and
// path and query are sent as the client wrote them.
func FuzzRoute(f *testing.F) {
	for _, input := range append(hostileNames(), hostileTargets()...) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(input.sent)))
		if err == nil {
			f.Add(req.RequestURI, req.Host, req.Header.Get("B24-Portal"))
		}
	}
	f.Add("/crm.example.org:8443/rest/x?a=%0d%0a", "box:9000", "")
	listed := append(CloudPortals(), patterns("crm.example.org:8443")...)
	routers := []*router{newRouter(listed, nil), newRouter(listed, mustURL("http://box:9000"))}
	f.Fuzz(func(t *testing.T, target, host, header string) {
		raw := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n"
		if header != "" {
			raw += "B24-Portal: " + header + "\r\n"
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
		if err != nil {
			return
		}
		for _, r := range routers {
			to, failed := r.route(req)
			switch {
			case failed != nil:
				if failed.status < 400 || failed.status > 499 || to.portal != "" {
					t.Errorf("got the portal %q and %d, want none and 4xx", to.portal, failed.status)
				}
			case !mayLeadTo(r, to, req):
				t.Errorf("got %s://%s for %q, want a portal that is listed and named", to.scheme, to.portal, raw)
			case !strings.HasPrefix(to.path, "/") || !strings.HasSuffix("/"+req.RequestURI, to.path+to.query) && !strings.HasSuffix(req.RequestURI, strings.TrimPrefix(to.path, "/")+to.query):
				t.Errorf("got %q and %q, want the end of %q", to.path, to.query, req.RequestURI)
			case strings.ContainsAny(to.portal+to.path+to.query, "\r\n\x00 "):
				t.Errorf("got %q %q %q, want no line ends and no blanks", to.portal, to.path, to.query)
			}
		}
	})
}

// mayLeadTo reports whether the portal of a route is on the list, in the form in which
// hosts are compared, and whether the request has its name or there is an upstream.
func mayLeadTo(r *router, to route, req *http.Request) bool {
	clean, err := cleanHost(to.portal, portalPort)
	if err != nil {
		return false
	}
	if r.upstream != nil && to.portal == r.host && to.scheme == r.upstream.Scheme {
		return true
	}
	_, listed := r.allowed.find(to.portal)
	named := strings.ToLower(req.RequestURI + " " + req.Host + " " + req.Header.Get("B24-Portal"))
	return clean == to.portal && listed && to.scheme == "https" && strings.Contains(named, strings.Split(to.portal, ":")[0])
}

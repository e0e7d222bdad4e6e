package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"b24proxy/limiter"
)

func patterns(hosts ...string) (all []HostPattern) {
	for _, h := range hosts {
		all = append(all, must(ParseHostPattern(h)))
	}
	return all
}

// The first way to name a portal that applies decides, and a host off the list is
// refused in whichever way it is named.
func TestRoute(t *testing.T) {
	with := must(url.Parse("http://127.0.0.1:9000"))
	box, local := must(url.Parse("https://box:80")), must(url.Parse("http://localhost:9000"))
	came := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 8080})
	for name, c := range map[string]struct {
		upstream *url.URL
		target   string
		host     string
		header   string
		want     string // scheme://portal path?query, or a code
	}{
		"absolute form":                        {target: "http://acme.bitrix24.com/rest/1/c/profile?a=1", want: "https://acme.bitrix24.com /rest/1/c/profile?a=1"},
		"absolute form before header":          {target: "http://acme.bitrix24.com/rest/profile", header: "other.bitrix24.com", want: "https://acme.bitrix24.com /rest/profile"},
		"absolute form without path":           {target: "http://acme.bitrix24.com?a", want: "https://acme.bitrix24.com /?a"},
		"absolute form with user":              {target: "http://u:p@acme.bitrix24.com/rest/x", want: "https://acme.bitrix24.com /rest/x"},
		"absolute form off the list":           {target: "http://evil.example/rest/x", header: "acme.bitrix24.com", want: "PORTAL_NOT_ALLOWED"},
		"header":                               {target: "/rest/x", header: "acme.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"header before path":                   {target: "/other.bitrix24.com/rest/x", header: "acme.bitrix24.com", want: "https://acme.bitrix24.com /other.bitrix24.com/rest/x"},
		"header in capitals":                   {target: "/rest/x", header: "ACME.Bitrix24.com.", want: "https://acme.bitrix24.com /rest/x"},
		"header with default port":             {target: "/rest/x", header: "acme.bitrix24.com:443", want: "https://acme.bitrix24.com /rest/x"},
		"header with another port":             {target: "/rest/x", header: "acme.bitrix24.com:8443", want: "PORTAL_NOT_ALLOWED"},
		"header with a listed port":            {target: "/rest/x", header: "crm.example.org:8443", want: "https://crm.example.org:8443 /rest/x"},
		"listed port left out":                 {target: "/rest/x", header: "crm.example.org", want: "PORTAL_NOT_ALLOWED"},
		"header off the list":                  {target: "/rest/x", header: "bitrix24.com.evil.example", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header that is no host":               {target: "/rest/x", header: "acme.bitrix24.com/rest/1", want: "PORTAL_NOT_ALLOWED"},
		"the zone itself":                      {target: "/rest/x", header: "bitrix24.com", want: "PORTAL_NOT_ALLOWED"},
		"empty header":                         {target: "/rest/x", header: " ", host: "acme.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"another scheme":                       {target: "ftp://acme.bitrix24.com/rest/x", want: "PORTAL_NOT_NAMED"},
		"path that ends with the host":         {target: "/acme.bitrix24.com", want: "https://acme.bitrix24.com /"},
		"path and a query at once":             {target: "/acme.bitrix24.com?a", want: "https://acme.bitrix24.com /?a"},
		"path":                                 {target: "/acme.bitrix24.com/rest/1/c/x?a=b", want: "https://acme.bitrix24.com /rest/1/c/x?a=b"},
		"path with two slashes":                {target: "/acme.bitrix24.com//rest//x", want: "https://acme.bitrix24.com //rest//x"},
		"path before Host":                     {target: "/acme.bitrix24.com/rest/x", host: "other.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"path off the list":                    {target: "/evil.example/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host":                                 {target: "/rest/x", host: "acme.bitrix24.com", upstream: with, want: "https://acme.bitrix24.com /rest/x"},
		"Host off the list":                    {target: "/rest/x", host: "evil.example", want: "PORTAL_NOT_ALLOWED"},
		"Host off the list, upstream":          {target: "/rest/x", host: "proxy.internal", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"upstream":                             {target: "//rest/x?", upstream: with, want: "http://127.0.0.1:9000 //rest/x?"},
		"upstream by header":                   {target: "/rest/x", header: "127.0.0.1:9000", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"another port of loopback":             {target: "/rest/x", header: "127.0.0.1:9001", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host with our port":                   {target: "/rest/x", host: "acme.bitrix24.com:8080", want: "https://acme.bitrix24.com /rest/x"},
		"Host with our port, upstream":         {target: "/rest/x", host: "ACME.bitrix24.com.:8080", upstream: with, want: "https://acme.bitrix24.com /rest/x"},
		"Host with our port, zeros in front":   {target: "/rest/x", host: "acme.bitrix24.com:08080", want: "PORTAL_NOT_ALLOWED"},
		"Host with the port of HTTP":           {target: "/rest/x", host: "acme.bitrix24.com:80", want: "https://acme.bitrix24.com /rest/x"},
		"Host with the port of HTTPS":          {target: "/rest/x", host: "acme.bitrix24.com:443", want: "https://acme.bitrix24.com /rest/x"},
		"Host without a port's digits":         {target: "/rest/x", host: "acme.bitrix24.com:", want: "https://acme.bitrix24.com /rest/x"},
		"Host with another port":               {target: "/rest/x", host: "acme.bitrix24.com:9090", want: "PORTAL_NOT_ALLOWED"},
		"Host with another port, upstream":     {target: "/rest/x", host: "acme.bitrix24.com:9090", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host with a listed port":              {target: "/rest/x", host: "crm.example.org:8443", upstream: with, want: "https://crm.example.org:8443 /rest/x"},
		"Host that lacks the listed port":      {target: "/rest/x", host: "crm.example.org", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host with our port for the listed":    {target: "/rest/x", host: "crm.example.org:8080", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host of a zone that is not listed":    {target: "/rest/x", host: "acme.bitrix24.tech", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host of a zone of two labels":         {target: "/rest/x", host: "acme.bitrix24.com.ua:8080", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host of a zone in another script":     {target: "/rest/x", host: "acme.bitrix24.xn--p1ai", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host that is a zone":                  {target: "/rest/x", host: "bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host with user":                       {target: "/rest/x", host: "u:p@acme.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host that is encoded":                 {target: "/rest/x", host: "acme%2ebitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host that folds to a portal":          {target: "/rest/x", host: "\u212a.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host of the upstream with our port":   {target: "/rest/x", host: "box:8080", upstream: box, want: "https://box:80 /rest/x"},
		"Host of the upstream with a third":    {target: "/rest/x", host: "box:9999", upstream: box, want: "PORTAL_NOT_ALLOWED"},
		"localhost with a third port":          {target: "/rest/x", host: "localhost:9999", upstream: local, want: "http://localhost:9000 /rest/x"},
		"an address, upstream":                 {target: "/rest/x", host: "10.0.0.7:8080", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"our own address, upstream":            {target: "/rest/x", host: "127.0.0.1:9999", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"an IPv6 address, upstream":            {target: "/rest/x", host: "[fd00::1]:8080", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"the proxy's name, upstream":           {target: "/rest/x", host: "proxy.example.com:8080", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"the proxy's name in a cluster":        {target: "/rest/x", host: "b24_proxy:8080", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"no Host, upstream":                    {target: "/rest/x", host: "-", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"an https upstream at 80":              {target: "/rest/x", upstream: box, want: "https://box:80 /rest/x"},
		"an http upstream at 443":              {target: "/rest/x", upstream: must(url.Parse("http://Box.:443")), want: "http://box:443 /rest/x"},
		"an http upstream at 80":               {target: "/rest/x", header: "box:80", upstream: must(url.Parse("http://box:80")), want: "http://box /rest/x"},
		"an https upstream at 443":             {target: "/rest/x", header: "box:443", upstream: must(url.Parse("https://box")), want: "https://box /rest/x"},
		"an IPv6 upstream, spelled otherwise":  {target: "/rest/x", header: "[0:0:0:0:0:0:0:1]:9000", upstream: must(url.Parse("http://[::1]:9000")), want: "http://[::1]:9000 /rest/x"},
		"header with our port":                 {target: "/rest/x", header: "acme.bitrix24.com:8080", want: "PORTAL_NOT_ALLOWED"},
		"header with the port of HTTP":         {target: "/rest/x", header: "acme.bitrix24.com:80", want: "PORTAL_NOT_ALLOWED"},
		"header that folds to a portal":        {target: "/rest/x", header: "b\u0130trix.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with a blank that is not one":  {target: "/rest/x", header: "kern.bitrix24.com\u00a0", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header that folds to a listed host":   {target: "/rest/x", header: "\u212arm.example.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header in fullwidth letters":          {target: "/rest/x", header: "\uff41cme.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with a soft hyphen":            {target: "/rest/x", header: "ac\u00adme.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with a NUL":                    {target: "/rest/x", header: "acme\x00.bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with a space":                  {target: "/rest/x", header: "acme .bitrix24.com", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with two dots at the end":      {target: "/rest/x", header: "acme.bitrix24.com..", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header with a name in brackets":       {target: "/rest/x", header: "[acme.bitrix24.com]:443", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"absolute form with the scheme's port": {target: "http://acme.bitrix24.com:80/rest/x", want: "https://acme.bitrix24.com /rest/x"},
		"absolute form with the other port":    {target: "https://acme.bitrix24.com:80/rest/x", want: "PORTAL_NOT_ALLOWED"},
		"absolute form with our port":          {target: "http://acme.bitrix24.com:8080/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"absolute form with two users":         {target: "http://acme.bitrix24.com@evil@b.bitrix24.com/rest/x", want: "https://b.bitrix24.com /rest/x"},
		"path with our port":                   {target: "/acme.bitrix24.com:8080/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"path with a port and no dot":          {target: "/box:9999/rest/x", upstream: box, want: "PORTAL_NOT_ALLOWED"},
		"path that folds to a portal":          {target: "/\u212a.bitrix24.com/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"path that is encoded":                 {target: "/acme%2ebitrix24%2ecom/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"path off the list, rest in capitals":  {target: "/evil.example//REST/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"path of a site":                       {target: "/company/rest/x", upstream: with, want: "http://127.0.0.1:9000 /company/rest/x"},
		"path with a dot":                      {target: "/./rest/x", upstream: with, want: "http://127.0.0.1:9000 /./rest/x"},
		"none":                                 {target: "/rest/x", want: "PORTAL_NOT_NAMED"},
		"none, in a cluster":                   {target: "/rest/x", host: "b24proxy:8080", want: "PORTAL_NOT_NAMED"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(append(CloudPortals(), patterns("crm.example.org:8443", "krm.example.com")...), c.upstream)
			req := must(http.NewRequestWithContext(came, http.MethodPost, c.target, nil))
			req.RequestURI = c.target
			if !req.URL.IsAbs() {
				req.Host = "127.0.0.1:8080"
			}
			if c.host != "" {
				req.Host = strings.Trim(c.host, "-")
			}
			if c.header != "" {
				req.Header.Set("B24-Portal", c.header)
			}
			route, failed := r.route(req)
			got := route.scheme + "://" + route.portal + " " + route.path + route.query
			if failed != nil {
				got = string(failed.code)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if isName := strings.Contains(name, "folds") || strings.Contains(name, "encoded"); isName && !strings.Contains(failed.description, "xn--") {
				t.Errorf("got %q, want the xn-- form to be mentioned", failed.description)
			}
		})
	}
}

// What the client wrote is sent byte for byte, also where net/url would write it
// differently.
func TestAddressPassesUnchanged(t *testing.T) {
	got := make(chan string, 1)
	portal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.RequestURI
		io.WriteString(w, `{"result":1}`)
	})
	proxies := map[string]*Proxy{"HTTP/1.1": beforePortal(t, portal, nil), "HTTP/2": overTLS(t, portal)}
	for _, target := range []string{
		"/rest/1/code/profile",
		"/rest/1/code/profile/",
		"/rest/1/code/profile.json?b;c&d=%zz&a=1&a=2",
		"//rest//1/code///profile",
		"/rest/profile?",
		"/rest/profile?a=%20+b&e=%C3%A9",
		"/rest/%70rofile",
		"/rest/pro%2Ffile/%D0%B0",
		"/rest/a|b{c}\"^`",
		"//rest/a|b",
		"/rest/x?cmd[a]=user.get?ID=1&auth=1|2",
		"/rest/x?#fragment",
		"/rest/./a/../b",
	} {
		for version, p := range proxies {
			w := p.call("POST", target, "")
			if w.Code != 200 {
				t.Errorf("%s over %s: got %d %s, want 200", target, version, w.Code, w.Body)
				continue
			}
			want := target
			if version == "HTTP/1.1" && target == "//rest/a|b" { // net/http has no other form for it
				want = p.config.Upstream.String() + target
			}
			if sent := <-got; sent != want {
				t.Errorf("%s over %s: got %s at the portal, want %s", target, version, sent, want)
			}
		}
	}
}

// The most specific pattern decides.
func TestHostMap(t *testing.T) {
	m := HostMap[string]{}
	for _, h := range []string{"*.bitrix24.com", "acme.bitrix24.com", "*.de.bitrix24.com", "*.example.org:8443"} {
		m = append(m, HostEntry[string]{must(ParseHostPattern(h)), h})
	}
	for host, want := range map[string]string{
		"other.bitrix24.com":   "*.bitrix24.com",
		"acme.bitrix24.com":    "acme.bitrix24.com",
		"x.de.bitrix24.com":    "*.de.bitrix24.com",
		"de.bitrix24.com":      "*.bitrix24.com",
		"bitrix24.com":         "",
		"acmebitrix24.com":     "",
		"crm.example.org:8443": "*.example.org:8443",
		"crm.example.org":      "",
	} {
		if got, _ := m.find(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// A name has at most 253 bytes, a label 63, and a port is not 0 (RFC 1035, 2.3.4).
func TestBoundsOfHosts(t *testing.T) {
	label := strings.Repeat("a", 63)
	name := strings.Join([]string{label, label, label, label[:61]}, ".")
	for host, want := range map[string]bool{
		name: true, name + "a": false, label + ".example": true, label + "a.example": false, "h:1": true, "h:0": false, "h:65535": true, "h:65536": false,
	} {
		if _, err := ParseHostPattern(host); (err == nil) != want {
			t.Errorf("%s: got the error %v, want it to be valid: %v", host, err, want)
		}
	}
}

func TestCutAt(t *testing.T) {
	for s, want := range map[string]string{"a?b#c": "a|?b#c", "#c": "|#c", "abc": "abc|"} {
		if before, from := cutAt(s, "?#"); before+"|"+from != want {
			t.Errorf("%s: got %q and %q, want them to be %s", s, before, from, want)
		}
	}
}

// A name that is not a host is refused, and the error says what one is.
func TestParseHostPattern(t *testing.T) {
	for _, s := range []string{"", "*", "*.", "a b", "https://acme.bitrix24.com", "a..b", "127.1", "0x7f.1", "[acme.example]", "[127.0.0.1]:1", "fe80::1%eth0", "\u212a.example", "ac\u00adme.example", "acme%2eexample", "acme.example\x00", "acme.example:+1", "acme.*.com", "acme.bitrix24.com/rest", "acme:port", "[::1", "ä.example"} {
		if p, err := ParseHostPattern(s); err == nil || !strings.Contains(err.Error(), "acme.bitrix24.com") || !strings.Contains(err.Error(), "xn--") {
			t.Errorf("ParseHostPattern(%q): got %v and the error %v, want an error with an example and the xn-- form", s, p, err)
		}
	}
	for s, want := range map[string]string{"ACME.example.": "acme.example", "*.X.org:8443": "*.x.org:8443", "[::1]:9000": "[::1]:9000", "127.0.0.1": "127.0.0.1", "h:443": "h", "h:80": "h:80", "h:": "h", "[0:0::1]": "[::1]", "::1": "[::1]", "[::FFFF:10.0.0.5]:8080": "10.0.0.5:8080", "xn--80awhdgm.xn--p1ai": "xn--80awhdgm.xn--p1ai"} {
		if p, err := ParseHostPattern(s); err != nil || p.String() != want {
			t.Errorf("ParseHostPattern(%q): got %v and the error %v, want %s", s, p, err, want)
		}
	}
}

// A setting for a portal applies whether or not its default port is written, in both
// schemes, and in each spelling of its address.
func TestSettingsFindTheirPortals(t *testing.T) {
	for _, c := range []struct{ upstream, portal, dialled, pattern string }{
		{"http://box", "box", "box:80", "box"},
		{"http://box", "box", "box:80", "BOX:80"},
		{"http://box:80", "box", "box:80", "box"},
		{"http://box:443", "box:443", "box:443", "box:443"},
		{"https://box:80", "box:80", "box:80", "box:80"},
		{"https://box", "box", "box:443", "box:443"},
		{"https://box:443", "box", "box:443", "box"},
		{"https://[::1]:9000", "[::1]:9000", "[::1]:9000", "[0:0::1]:9000"},
		{"https://[::1]", "[::1]", "[::1]:443", "[::1]"},
	} {
		p := must(ParseHostPattern(c.pattern))
		config := Config{Upstream: mustURL(c.upstream), PortalPlans: HostMap[limiter.Plan]{{p, limiter.Enterprise}}}
		to, found := dialedInstead(HostMap[string]{{p, "10.0.0.5:1"}}, c.dialled)
		portal := newRouter(nil, config.Upstream).host
		if portal != c.portal || config.PlanOf(portal) != limiter.Enterprise || !found || to != "10.0.0.5:1" {
			t.Errorf("%s for %s: got the portal %s, the plan %v and the address %q, want %s, %v and 10.0.0.5:1", c.pattern, c.upstream, portal, config.PlanOf(portal), to, c.portal, limiter.Enterprise)
		}
	}
	if to, found := dialedInstead(HostMap[string]{{must(ParseHostPattern("box:80")), "10.0.0.5:1"}}, "box:443"); found {
		t.Errorf("got %s for port 443 by a setting for port 80, want none", to)
	}
}

// A client that resolves the portal's name to the proxy reaches that portal, on
// whatever port the proxy listens, and no other portal.
func TestPortalNameThatLeadsToTheProxy(t *testing.T) {
	var portal string
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL("https://upstream.example") }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		portal = r.Host
		io.WriteString(w, `{"result":1}`)
	}))
	address := p.serveClients(t)
	_, port, _ := net.SplitHostPort(address)
	for host, want := range map[string]string{
		"acme.bitrix24.com":           "acme.bitrix24.com",
		"Acme.Bitrix24.com.:" + port:  "acme.bitrix24.com",
		"acme.bitrix24.com:1":         "403",
		"acme.bitrix24.tech:" + port:  "403",
		"proxy.example.com:" + port:   "upstream.example",
		"upstream.example:" + port:    "upstream.example",
		address:                       "upstream.example",
		"[::ffff:127.0.0.1]:" + port:  "upstream.example",
		"xn--80awhdgm.xn--p1ai":       "upstream.example",
		"bitrix24.com.evil.example":   "upstream.example",
		"acme.bitrix24.com.evil.test": "upstream.example",
	} {
		portal = ""
		req := must(http.NewRequest(http.MethodGet, "http://"+address+"/rest/profile", nil))
		req.Host = host
		resp := must(http.DefaultClient.Do(req))
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			portal += strconv.Itoa(resp.StatusCode)
		}
		if portal != want {
			t.Errorf("Host %s: got %s, want %s", host, portal, want)
		}
	}
}

package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func patterns(hosts ...string) (all []HostPattern) {
	for _, h := range hosts {
		all = append(all, must(ParseHostPattern(h)))
	}
	return all
}

// The first way to name a portal that applies is the one that counts, and a
// host off the list is refused whichever way it is named.
func TestRoute(t *testing.T) {
	with := must(url.Parse("http://127.0.0.1:9000"))
	for name, c := range map[string]struct {
		upstream *url.URL
		target   string
		host     string
		header   string
		want     string // scheme://portal path?query, or a code
	}{
		"absolute form":                {target: "http://acme.bitrix24.com/rest/1/c/profile?a=1", want: "https://acme.bitrix24.com /rest/1/c/profile?a=1"},
		"absolute form before header":  {target: "http://acme.bitrix24.com/rest/profile", header: "other.bitrix24.com", want: "https://acme.bitrix24.com /rest/profile"},
		"absolute form without path":   {target: "http://acme.bitrix24.com?a", want: "https://acme.bitrix24.com /?a"},
		"absolute form with user":      {target: "http://u:p@acme.bitrix24.com/rest/x", want: "https://acme.bitrix24.com /rest/x"},
		"absolute form off the list":   {target: "http://evil.example/rest/x", header: "acme.bitrix24.com", want: "PORTAL_NOT_ALLOWED"},
		"header":                       {target: "/rest/x", header: "acme.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"header before path":           {target: "/other.bitrix24.com/rest/x", header: "acme.bitrix24.com", want: "https://acme.bitrix24.com /other.bitrix24.com/rest/x"},
		"header in capitals":           {target: "/rest/x", header: "ACME.Bitrix24.com.", want: "https://acme.bitrix24.com /rest/x"},
		"header with default port":     {target: "/rest/x", header: "acme.bitrix24.com:443", want: "https://acme.bitrix24.com /rest/x"},
		"header with another port":     {target: "/rest/x", header: "acme.bitrix24.com:8443", want: "PORTAL_NOT_ALLOWED"},
		"header with a listed port":    {target: "/rest/x", header: "crm.example.org:8443", want: "https://crm.example.org:8443 /rest/x"},
		"listed port left out":         {target: "/rest/x", header: "crm.example.org", want: "PORTAL_NOT_ALLOWED"},
		"header off the list":          {target: "/rest/x", header: "bitrix24.com.evil.example", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"header that is no host":       {target: "/rest/x", header: "acme.bitrix24.com/rest/1", want: "PORTAL_NOT_ALLOWED"},
		"the zone itself":              {target: "/rest/x", header: "bitrix24.com", want: "PORTAL_NOT_ALLOWED"},
		"empty header":                 {target: "/rest/x", header: " ", host: "acme.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"another scheme":               {target: "ftp://acme.bitrix24.com/rest/x", want: "PORTAL_NOT_NAMED"},
		"path that ends with the host": {target: "/acme.bitrix24.com", want: "https://acme.bitrix24.com /"},
		"path and a query at once":     {target: "/acme.bitrix24.com?a", want: "https://acme.bitrix24.com /?a"},
		"path":                         {target: "/acme.bitrix24.com/rest/1/c/x?a=b", want: "https://acme.bitrix24.com /rest/1/c/x?a=b"},
		"path with two slashes":        {target: "/acme.bitrix24.com//rest//x", want: "https://acme.bitrix24.com //rest//x"},
		"path before Host":             {target: "/acme.bitrix24.com/rest/x", host: "other.bitrix24.com", want: "https://acme.bitrix24.com /rest/x"},
		"path off the list":            {target: "/evil.example/rest/x", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"Host":                         {target: "/rest/x", host: "acme.bitrix24.com", upstream: with, want: "https://acme.bitrix24.com /rest/x"},
		"Host off the list":            {target: "/rest/x", host: "evil.example", want: "PORTAL_NOT_ALLOWED"},
		"Host off the list, upstream":  {target: "/rest/x", host: "proxy.internal", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"upstream":                     {target: "//rest/x?", upstream: with, want: "http://127.0.0.1:9000 //rest/x?"},
		"upstream by header":           {target: "/rest/x", header: "127.0.0.1:9000", upstream: with, want: "http://127.0.0.1:9000 /rest/x"},
		"another port of loopback":     {target: "/rest/x", header: "127.0.0.1:9001", upstream: with, want: "PORTAL_NOT_ALLOWED"},
		"none":                         {target: "/rest/x", want: "PORTAL_NOT_NAMED"},
		"none, in a cluster":           {target: "/rest/x", host: "b24proxy:8080", want: "PORTAL_NOT_NAMED"},
	} {
		r := newRouter(append(CloudPortals(), patterns("crm.example.org:8443")...), c.upstream)
		req := httptest.NewRequest("POST", c.target, nil)
		req.RequestURI = c.target
		if !req.URL.IsAbs() {
			req.Host = "127.0.0.1:8080"
		}
		if c.host != "" {
			req.Host = c.host
		}
		if c.header != "" {
			req.Header.Set("B24-Portal", c.header)
		}
		route, failed := r.route(req)
		got := route.scheme + "://" + route.portal + " " + route.path + route.query
		if failed != nil {
			got = failed.code
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// What the client wrote goes over the wire byte for byte, also what net/url
// would write otherwise.
func TestAddressPassesUnchanged(t *testing.T) {
	got := make(chan string, 1)
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.RequestURI
		io.WriteString(w, `{"result":1}`)
	}))
	defer portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream = must(url.Parse(portal.URL)) })
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
		w := p.call("POST", target, "")
		if w.Code != 200 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
			continue
		}
		if sent := <-got; strings.TrimPrefix(sent, portal.URL) != target {
			t.Errorf("%s arrived as %s", target, sent)
		}
	}
}

// The most exact pattern decides.
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

// What is no host is refused with a word on what one is.
func TestParseHostPattern(t *testing.T) {
	for _, s := range []string{"", "*", "*.", "a b", "https://acme.bitrix24.com", "a..b", "acme.*.com", "acme.bitrix24.com/rest", "acme:port", "[::1", "ä.example"} {
		if p, err := ParseHostPattern(s); err == nil || !strings.Contains(err.Error(), "acme.bitrix24.com") {
			t.Errorf("ParseHostPattern(%q) = %v, %v", s, p, err)
		}
	}
	for s, want := range map[string]string{"ACME.example.": "acme.example", "*.X.org:8443": "*.x.org:8443", "[::1]:9000": "[::1]:9000", "127.0.0.1": "127.0.0.1", "h:443": "h"} {
		if p, err := ParseHostPattern(s); err != nil || p.String() != want {
			t.Errorf("ParseHostPattern(%q) = %v, %v, want %s", s, p, err, want)
		}
	}
}

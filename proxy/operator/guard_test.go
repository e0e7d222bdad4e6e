package operator

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// The admin listener answers to names that no foreign page can make its own,
// and to no others.
func TestAdminNames(t *testing.T) {
	o := newTestOperator(t, func(c *Config) { c.AdminHost = "Admin.Example.com" })
	for host, want := range map[string]int{
		"127.0.0.1:8081": 200, "10.1.2.3": 200, "[::1]:8081": 200, "[fe80::1%eth0]:8081": 200, "::1": 200, "": 200,
		"localhost:8081": 200, "LOCALHOST": 200, "localhost.:8081": 200, "b24proxy:8081": 200, "b24proxy-0": 200,
		"b24proxy.prod.svc:8081": 200, "b24proxy.prod.svc.cluster.local": 200, "node7.internal": 200, "nas.lan": 200, "x.home.arpa": 200, "acme.test": 200,
		"admin.example.com:8081": 200, "admin.example.com.": 200,
		"evil.example:8081": 403, "evil.com": 403, "127.0.0.1.nip.io:8081": 403, "localhost.evil.com": 403, "internal.com": 403, "evilinternal.com": 403,
		"admin.example.com.evil.com": 403, "127.0.0.1.": 200, "1.2.3.4.5": 403, "evil.com:80:81": 403, "[evil.com]:81": 403, "acme.bitrix24.com": 403,
	} {
		for _, path := range []string{"/status", "/", "/metrics", "/healthz", "/readyz", "/nothing"} {
			w := o.get(path, host)
			isAnswered := w.Code == 200 || path == "/nothing" && w.Code == 404
			if isAnswered != (want == 200) {
				t.Errorf("%s under %q: %d, want %d", path, host, w.Code, want)
			}
			if w.Code == 403 && (!strings.Contains(w.Body.String(), "IP address") || !strings.Contains(w.Body.String(), "B24PROXY_ADMIN_LISTEN")) {
				t.Errorf("%q does not say how", w.Body)
			}
		}
	}
	if w := o.get("http://evil.com/status", "evil.com"); w.Code != 403 { // absolute form: net/http makes its host the Host
		t.Errorf("absolute form: %d", w.Code)
	}
}

// A page of another site gets nothing, and its stream takes no place; a link to
// the page is followed.
func TestAdminAskedByAForeignPage(t *testing.T) {
	o := newTestOperator(t, nil)
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{nil, 200},
		{[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
		{[]string{"Origin", "http://127.0.0.1:8081"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403}, // another port of this machine
		{[]string{"Origin", "https://evil.com"}, 403},
		{[]string{"Origin", "http://127.0.0.1:9000"}, 403},
		{[]string{"Origin", "null"}, 403},
	} {
		if w := o.get("/status", "127.0.0.1:8081", c.headers...); w.Code != c.want {
			t.Errorf("%v: %d, want %d", c.headers, w.Code, c.want)
		}
	}
}

// Every answer of the admin listener, errors too, is kept by nobody and is what
// its type says.
func TestAdminHeaders(t *testing.T) {
	o := newTestOperator(t, func(c *Config) { c.PProf = true })
	for _, path := range []string{"/", "/page/page.css", "/page/page.js", "/page/icon.svg", "/status", "/metrics", "/healthz", "/readyz", "/nothing", "//status", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/nothing"} {
		for _, headers := range [][]string{nil, {"Range", "bytes=999999-"}, {"Host", "evil.com"}} {
			host := "127.0.0.1"
			if len(headers) > 0 && headers[0] == "Host" {
				host = headers[1]
			}
			w := o.get(path, host, headers...)
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s %v: %d %v", path, headers, w.Code, w.Header())
			}
		}
	}
	server := httptest.NewServer(o.Handler())
	defer server.Close()
	resp := must(http.Get(server.URL + "/events"))
	defer resp.Body.Close()
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("/events: %v", resp.Header)
	}
	o.viewers.close()
}

// Who has a network of IPv6 to itself is one client; nobody is one with another
// address of IPv4.
func TestClientOf(t *testing.T) {
	of := func(remote string) netip.Prefix { return clientOf(&http.Request{RemoteAddr: remote}) }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1:1", "10.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.2:1", false},
		{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:0:0:2]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2%eth1]:1", true},
		{"@", "", true},
	} {
		if same := of(c.a) == of(c.b); same != c.same {
			t.Errorf("%s and %s: one client %v", c.a, c.b, same)
		}
	}
}

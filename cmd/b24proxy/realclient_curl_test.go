package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// curlDefaults make curl send a form, and print a last line with the status and the
// version of HTTP of the answer, and the status of a proxy's answer to CONNECT.
const curlDefaults = `silent
show-error
max-time = 30
data = "fields[TITLE]=a deal"
write-out = "\n%{http_code} HTTP/%{http_version}, CONNECT %{http_connect}"
`

func newCurlGateway(t *testing.T, settings ...string) *gateway {
	t.Helper()
	needs(t, "curl", "--version")
	g := newGateway(t, settings...)
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(curlDefaults), 0o600); err != nil {
		t.Fatal(err)
	}
	g.environ = append(g.environ, "HOME="+home, "tlsport="+g.tlsAddress()[strings.LastIndexByte(g.tlsAddress(), ':')+1:])
	return g
}

// curl reaches the portal in every way in which a request can name it.
func TestRealClientCurl(t *testing.T) {
	t.Parallel()
	newCurlGateway(t).wantEach(t, []clientCase{
		{"the first path segment", `curl http://$http/$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"the first path segment, over TLS", `curl --cacert $ca/root.pem https://$tls/$acme$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the first path segment, over TLS to localhost", `curl --cacert $ca/root.pem https://localhost:$tlsport/$acme$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the header B24-Portal", `curl -H "B24-Portal: $acme" http://$http$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"a request without a portal", `curl http://$http$add`, `"PORTAL_NOT_NAMED"`, 0},

		{"the portal's name, led here by DNS", `curl --cacert $ca/root.pem --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the portal's name, with the proxy's port", `curl --cacert $ca/root.pem --resolve $acme:$tlsport:127.0.0.1 https://$acme:$tlsport$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the portal's name, by HTTP/1.1", `curl --http1.1 --cacert $ca/root.pem --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"the portal's name, by HTTP/1.0", `curl --http1.0 --cacert $ca/root.pem --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/1", 1},
		{"the portal's name, without ALPN", `curl --no-alpn --cacert $ca/root.pem --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"the portal's name, without trust in the CA", `curl --connect-to $acme:443:$tls https://$acme$add`, "curl: (60)", 0},
		{"a name that the CA may not sign for", `curl --cacert $ca/root.pem --connect-to example.com:443:$tls https://example.com$add`, "curl: (60)", 0},

		{"http_proxy", `http_proxy=http://$http curl http://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"-x", `curl -x $http http://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"-x over TLS", `curl -x https://$tls --proxy-cacert $ca/root.pem http://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"--proxy1.0", `curl --proxy1.0 $http http://$acme$add`, "200 HTTP/1.1, CONNECT 000", 1},
		{"-x for a host that is not allowed", `curl -x $http http://example.com$add`, `"PORTAL_NOT_ALLOWED"`, 0},

		{"the root in CURL_CA_BUNDLE", `CURL_CA_BUNDLE=$ca/root.pem curl --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the bundle in CURL_CA_BUNDLE", `CURL_CA_BUNDLE=$ca/bundle.pem curl --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/2, CONNECT 000", 1},
		{"the root in SSL_CERT_FILE", `SSL_CERT_FILE=$ca/root.pem curl --connect-to $acme:443:$tls https://$acme$add`, "200 HTTP/2, CONNECT 000", 1},
	})
}

// curl speaks to the portal through a tunnel. The portal's answer says how it came there,
// and the proxy's, which curl shows with -i, why not.
func TestRealClientCurlByConnect(t *testing.T) {
	t.Parallel()
	newCurlGateway(t).wantEach(t, []clientCase{
		{"https_proxy", `https_proxy=http://$http CURL_CA_BUNDLE=$ca/bundle.pem curl https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"-x", `curl -x $http --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"-x, then HTTP/1.1", `curl -x $http --http1.1 --cacert $ca/root.pem https://$acme$add`, "200 HTTP/1.1, CONNECT 200", 1},
		{"-x, then HTTP/1.0", `curl -x $http --http1.0 --cacert $ca/root.pem https://$acme$add`, "200 HTTP/1", 1},
		{"-x over TLS", `curl -x https://$tls --proxy-cacert $ca/root.pem --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"--proxytunnel", `curl -p -x $http --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"--proxy1.0", `curl --proxy1.0 $http --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"CONNECT without User-Agent", `curl -x $http -A "" --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"two calls in one tunnel", `curl -x $http --cacert $ca/root.pem -w "%{num_connects} " https://$acme$add https://$acme$add`, `}}0`, 2},

		{"a host that is not allowed", `curl -i -x $http https://example.com$add`, "HTTP/1.1 403 PORTAL_NOT_ALLOWED", 0},
		{"a portal's name in another's", `curl -i -x $http https://$acme.example.com$add`, "HTTP/1.1 403 PORTAL_NOT_ALLOWED", 0},
		{"another port of a portal", `curl -i -x $http https://$acme:8443$add`, "HTTP/1.1 403 PORTAL_NOT_ALLOWED", 0},
		{"a tunnel for http", `curl -i -p -x $http http://$acme$add`, "HTTP/1.1 403 PORTAL_NOT_ALLOWED", 0},
		{"an address", `curl -i -x $http https://127.0.0.1$add`, "HTTP/1.1 403 PORTAL_NOT_ALLOWED", 0},
		{"no trust in the CA", `curl -x $http https://$acme$add`, "curl: (60)", 0},
	})
}

// curl sends its client key in every way that it has.
func TestRealClientCurlWithKey(t *testing.T) {
	t.Parallel()
	g := newCurlGateway(t, "CLIENT_KEYS=shop=0123456789abcdef")
	g.environ = append(g.environ, "key=shop:0123456789abcdef")
	g.wantEach(t, []clientCase{
		{"in the address of a server", `curl http://$key@$http/$acme$add`, "200 HTTP/1.1", 1},
		{"in the address of the portal", `curl --cacert $ca/root.pem --connect-to $acme:443:$tls https://$key@$acme$add`, "200 HTTP/2", 1},
		{"with -u", `curl -u $key -H "B24-Portal: $acme" http://$http$add`, "200 HTTP/1.1", 1},
		{"in http_proxy", `http_proxy=http://$key@$http curl http://$acme$add`, "200 HTTP/1.1", 1},
		{"with --proxy-user", `curl -x $http --proxy-user $key http://$acme$add`, "200 HTTP/1.1", 1},
		{"with --proxy-user, over TLS", `curl -x https://$tls --proxy-cacert $ca/root.pem --proxy-user $key http://$acme$add`, "200 HTTP/1.1", 1},
		{"in https_proxy", `https_proxy=http://$key@$http curl --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"with --proxy-user, to CONNECT", `curl -x $http --proxy-user $key --cacert $ca/root.pem https://$acme$add`, "200 HTTP/2, CONNECT 200", 1},
		{"in the address of the portal, in a tunnel", `curl -i -x $http --cacert $ca/root.pem https://$key@$acme$add`, "HTTP/1.1 407 CLIENT_NOT_ALLOWED", 0},
		{"none, to a server", `curl http://$http/$acme$add`, `"CLIENT_NOT_ALLOWED"`, 0},
		{"none, to a proxy", `curl -x $http http://$acme$add`, "407 HTTP/1.1", 0},
		{"none, to CONNECT", `curl -i -x $http https://$acme$add`, "HTTP/1.1 407 CLIENT_NOT_ALLOWED", 0},
	})
}

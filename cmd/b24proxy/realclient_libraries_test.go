package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	python    = "/usr/bin/python3" // Debian's packages are for Debian's Python
	hasPython = "import aiohttp, httpx, requests"
	hasPHP    = `exit(extension_loaded("curl") && file_exists("/usr/share/php/Symfony/Component/HttpClient/autoload.php") ? 0 : 1);`
)

// Each script makes two calls.
const twice = 2

// The libraries for PHP reach the portal. curl is what CRest uses, and Symfony's client
// what b24phpsdk uses.
func TestRealClientPHP(t *testing.T) {
	t.Parallel()
	needs(t, "php", "-r", hasPHP)
	newGateway(t).wantEach(t, []clientCase{
		{"curl, the first path segment", `php client.php curl http://$http/$acme$add`, `200 {"result":`, twice},
		{"Symfony with curl, the first path segment", `php client.php symfony-curl http://$http/$acme$add`, `200 {"result":`, twice},
		{"Symfony without curl, the first path segment", `php client.php symfony-native http://$http/$acme$add`, `200 {"result":`, twice},

		{"curl, the portal's name", `CONNECT_TO=$acme:443:$tls php -d curl.cainfo=$ca/bundle.pem client.php curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony with curl, the portal's name", `CONNECT_TO=$acme:443:$tls php -d curl.cainfo=$ca/bundle.pem client.php symfony-curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony without curl, over TLS", `php -d openssl.cafile=$ca/bundle.pem client.php symfony-native https://$tls/$acme$add`, `200 {"result":`, twice},

		{"curl, https_proxy", `https_proxy=http://$http php -d curl.cainfo=$ca/bundle.pem client.php curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony with curl, https_proxy", `https_proxy=http://$http php -d curl.cainfo=$ca/bundle.pem client.php symfony-curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony without curl, https_proxy", `https_proxy=http://$http php -d openssl.cafile=$ca/bundle.pem client.php symfony-native https://$acme$add`, `200 {"result":`, twice},
		{"a stream, to which the proxy is named", `https_proxy=http://$http php -d openssl.cafile=$ca/bundle.pem client.php stream https://$acme$add`, `200 {"result":`, twice},
		{"curl shows why a host is refused", `https_proxy=http://$http php client.php curl https://example.com$add`, "403", 0},

		{"curl does not read its certificates from the environment", `export SSL_CERT_FILE=$ca/root.pem CURL_CA_BUNDLE=$ca/root.pem CONNECT_TO=$acme:443:$tls; php client.php curl https://$acme$add`, "0 SSL certificate problem", 0},
	})
}

// The libraries for Python reach the portal.
func TestRealClientPython(t *testing.T) {
	t.Parallel()
	needs(t, python, "-c", hasPython)
	newGateway(t).wantEach(t, []clientCase{
		{"urllib", `/usr/bin/python3 client.py urllib http://$http/$acme$add`, `200 {"result":`, twice},
		{"urllib, over TLS", `SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py urllib https://$tls/$acme$add`, `200 {"result":`, twice},
		{"requests, over TLS", `REQUESTS_CA_BUNDLE=$ca/bundle.pem /usr/bin/python3 client.py requests https://$tls/$acme$add`, `200 {"result":`, twice},
		{"httpx, over TLS", `SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py httpx https://$tls/$acme$add`, `200 {"result":`, twice},
		{"aiohttp, over TLS", `SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py aiohttp https://$tls/$acme$add`, `200 {"result":`, twice},
		{"http.client, with set_tunnel", `https_proxy=http://$http SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py http.client https://$acme$add`, `200 {"result":`, twice},
		{"urllib, https_proxy", `https_proxy=http://$http SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py urllib https://$acme$add`, `200 {"result":`, twice},
		{"requests, https_proxy", `https_proxy=http://$http REQUESTS_CA_BUNDLE=$ca/bundle.pem /usr/bin/python3 client.py requests https://$acme$add`, `200 {"result":`, twice},
		{"httpx, https_proxy", `https_proxy=http://$http SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py httpx https://$acme$add`, `200 {"result":`, twice},
		{"aiohttp with trust_env, https_proxy", `https_proxy=http://$http SSL_CERT_FILE=$ca/bundle.pem /usr/bin/python3 client.py aiohttp https://$acme$add`, `200 {"result":`, twice},
		{"http.client shows why a host is refused", `https_proxy=http://$http /usr/bin/python3 client.py http.client https://example.com$add`, "403 PORTAL_NOT_ALLOWED", 0},
		{"urllib shows why a host is refused", `https_proxy=http://$http /usr/bin/python3 client.py urllib https://example.com$add`, "403 PORTAL_NOT_ALLOWED", 0},
		{"requests shows why a host is refused", `https_proxy=http://$http /usr/bin/python3 client.py requests https://example.com$add`, "403 PORTAL_NOT_ALLOWED", 0},

		{"requests does not read SSL_CERT_FILE", `SSL_CERT_FILE=$ca/root.pem /usr/bin/python3 client.py requests https://$tls/$acme$add`, "CERTIFICATE_VERIFY_FAILED", 0},
	})
}

// Go's own client reaches the portal.
func TestRealClientGo(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	program := filepath.Join(t.TempDir(), "client")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "testdata/realclient/client.go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g.environ = append(g.environ, "client="+program)
	g.wantEach(t, []clientCase{
		{"the first path segment", `$client http://$http/$acme$add`, `200 {"result":`, twice},
		{"over TLS", `SSL_CERT_FILE=$ca/bundle.pem $client https://$tls/$acme$add`, `200 {"result":`, twice},
		{"https_proxy", `https_proxy=http://$http SSL_CERT_FILE=$ca/bundle.pem $client https://$acme$add`, `200 {"result":`, twice},
		// It would agree on HTTP/2 with the proxy, and then speak HTTP/1.1 to it.
		{"https_proxy over TLS, without HTTP/2", `GODEBUG=http2client=0 https_proxy=https://$tls SSL_CERT_FILE=$ca/bundle.pem $client https://$acme$add`, `200 {"result":`, twice},
		{"a host that is refused", `https_proxy=http://$http $client https://example.com$add`, "PORTAL_NOT_ALLOWED", 0},
	})
}

// The libraries take a client key from the address of their proxy, and send it with
// CONNECT.
func TestRealClientsWithKey(t *testing.T) {
	t.Parallel()
	needs(t, "php", "-r", hasPHP)
	needs(t, python, "-c", hasPython)
	g := newGateway(t, "CLIENT_KEYS=shop=0123456789abcdef")
	g.environ = append(g.environ, "https_proxy=http://shop:0123456789abcdef@"+strings.TrimPrefix(g.clients, "http://"), "SSL_CERT_FILE="+g.ca+"/bundle.pem", "REQUESTS_CA_BUNDLE="+g.ca+"/bundle.pem")
	g.wantEach(t, []clientCase{
		{"PHP with curl", `php -d curl.cainfo=$ca/bundle.pem client.php curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony with curl", `php -d curl.cainfo=$ca/bundle.pem client.php symfony-curl https://$acme$add`, `200 {"result":`, twice},
		{"Symfony without curl", `php client.php symfony-native https://$acme$add`, `200 {"result":`, twice},
		{"http.client", `/usr/bin/python3 client.py http.client https://$acme$add`, `200 {"result":`, twice},
		{"urllib", `/usr/bin/python3 client.py urllib https://$acme$add`, `200 {"result":`, twice},
		{"requests", `/usr/bin/python3 client.py requests https://$acme$add`, `200 {"result":`, twice},
		{"httpx", `/usr/bin/python3 client.py httpx https://$acme$add`, `200 {"result":`, twice},
		{"aiohttp", `/usr/bin/python3 client.py aiohttp https://$acme$add`, `200 {"result":`, twice},
	})
	if n := g.metric("client_requests_total", `client="shop"`, `outcome="ok"`); n != 8*twice {
		t.Errorf("got %g calls of the client, want %d", n, 8*twice)
	}
}

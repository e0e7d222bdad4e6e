package main

import "testing"

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
		{"requests does not read SSL_CERT_FILE", `SSL_CERT_FILE=$ca/root.pem /usr/bin/python3 client.py requests https://$tls/$acme$add`, "CERTIFICATE_VERIFY_FAILED", 0},
	})
}

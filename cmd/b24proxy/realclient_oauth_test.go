package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A tokenServer renews tokens. It has a certificate of its own, not one of the CA.
type tokenServer struct {
	address, root string
	renewals      atomic.Int64
}

func serveTokens(t *testing.T) *tokenServer {
	t.Helper()
	s := new(tokenServer)
	certificate, root := selfSigned(t, oauth)
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.address, s.root = server.Listener.Addr().String(), root
	return s
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != oauth || r.TLS.ServerName != oauth || r.URL.Path != "/oauth/token/" || r.FormValue("refresh_token") != "simulated-refresh-token" {
		http.Error(w, "not a renewal of a token", http.StatusBadRequest)
		return
	}
	s.renewals.Add(1)
	json.NewEncoder(w).Encode(map[string]any{
		"access_token": "renewed-access-token", "refresh_token": "renewed-refresh-token", "expires_in": 3600, "expires": time.Now().Add(time.Hour).Unix(),
		"client_endpoint": "https://" + acme + "/rest/", "server_endpoint": "https://" + oauth + "/rest/", "domain": oauth, "scope": "crm", "status": "L",
	})
}

// newOAuthGateway is a gateway that reaches the OAuth server too. $roots is a file with
// the CA's root and that of the OAuth server, as bundle.pem has the CA's and those of
// the system.
func newOAuthGateway(t *testing.T) (*gateway, *tokenServer) {
	t.Helper()
	tokens, portal := serveTokens(t), serveTLS(t, true)
	g := gatewayTo(t, portal, portal.settings[0]+","+oauth+"="+tokens.address)
	var roots []byte
	for _, file := range []string{tokens.root, filepath.Join(g.ca, "root.pem")} {
		root, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root...)
	}
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	g.environ = append(g.environ, "roots="+file, "oauth=https://"+oauth+"/oauth/token/?grant_type=refresh_token&client_id=a&client_secret=b&refresh_token=simulated-refresh-token")
	return g, tokens
}

// The SDK's token has expired. It gets another through the tunnel to the OAuth server,
// calls again, and all else with the new token.
func TestRealClientRenewsToken(t *testing.T) {
	t.Parallel()
	folder := sdkFolder(t)
	g, tokens := newOAuthGateway(t)
	g.folder = folder
	g.portal.SetFaults(faults(t, "*:expired_token:first=1")...)
	got := wantSDKRun(t, g.shell(t, `https_proxy=http://$http NODE_EXTRA_CA_CERTS=$roots node client.mjs oauth https://$acme 1 https://`+oauth), 1)
	if got.Refreshes != 1 || tokens.renewals.Load() != 1 || sdkCalls(t, g.portal.Portal) != 3 {
		t.Errorf("got %d renewals in the SDK, %d at the server and %d calls at the portal, want 1, 1 and 3", got.Refreshes, tokens.renewals.Load(), g.portal.Arrived())
	}
	for i, c := range g.portal.Calls() {
		if want := i > 0; strings.Contains(string(c.Body), "renewed-access-token") != want {
			t.Errorf("call %d: got the new token %t, want %t", i, !want, want)
		}
	}
}

// Others renew a token through the tunnel too, but none that trusts the CA alone: it has no
// certificate for the OAuth server, and the tunnel leads to the server's own.
func TestRealClientsRenewToken(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "--version")
	needs(t, python, "-c", hasPython)
	needs(t, "php", "-r", hasPHP)
	g, tokens := newOAuthGateway(t)
	lines := []clientCase{
		{"curl", `https_proxy=http://$http CURL_CA_BUNDLE=$roots curl -sS $oauth`, "renewed-access-token", 0},
		{"curl over TLS to the proxy", `curl -sS -x https://$tls --proxy-cacert $ca/root.pem --cacert $roots $oauth`, "renewed-access-token", 0},
		{"curl by HTTP/1.0", `curl -sS --proxy1.0 $http --cacert $roots $oauth`, "renewed-access-token", 0},
		{"PHP with curl", `https_proxy=http://$http php -d curl.cainfo=$roots client.php curl $oauth`, "200 {", 0},
		{"Symfony without curl", `https_proxy=http://$http php -d openssl.cafile=$roots client.php symfony-native $oauth`, "200 {", 0},
		{"urllib", `https_proxy=http://$http SSL_CERT_FILE=$roots /usr/bin/python3 client.py urllib $oauth`, "200 {", 0},
		{"requests", `https_proxy=http://$http REQUESTS_CA_BUNDLE=$roots /usr/bin/python3 client.py requests $oauth`, "200 {", 0},
		{"httpx", `https_proxy=http://$http SSL_CERT_FILE=$roots /usr/bin/python3 client.py httpx $oauth`, "200 {", 0},
		{"aiohttp", `https_proxy=http://$http SSL_CERT_FILE=$roots /usr/bin/python3 client.py aiohttp $oauth`, "200 {", 0},
	}
	g.wantEach(t, lines)
	if n, want := tokens.renewals.Load(), int64(3+6*twice); n != want {
		t.Errorf("got %d renewals, want %d", n, want)
	}
	g.wantEach(t, []clientCase{
		{"curl, which trusts the CA alone", `https_proxy=http://$http curl -sS --cacert $ca/root.pem $oauth`, "curl: (60)", 0},
		{"requests, which trusts the CA alone", `https_proxy=http://$http REQUESTS_CA_BUNDLE=$ca/root.pem /usr/bin/python3 client.py requests $oauth`, "CERTIFICATE_VERIFY_FAILED", 0},
	})
}

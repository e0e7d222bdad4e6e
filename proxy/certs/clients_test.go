package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// foreign is a host that no CA of these tests permits.
const foreign = "example.com"

// program skips a test on a machine without a program; in CI it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; CI must run this test with it", name)
	}
	if err != nil {
		t.Skipf("needs %s", name)
	}
	return path
}

// signedAnyway returns a certificate that the issuing key signed without a look
// at the constraints, as somebody would who stole it.
func signedAnyway(t *testing.T, ca *CA, host string) *tls.Certificate {
	t.Helper()
	c, err := ca.authority.Load().sign(host, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a server that has a certificate for whatever name is asked for.
func serve(t *testing.T, ca *CA) (port string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that break off are what is tested
	s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return ca.authority.Load().sign(hello.ServerName, time.Now())
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// said runs a program and returns all that it writes.
func said(t *testing.T, environ []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), environ...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// Go refuses a certificate for a foreign host, also one that is under a root
// without constraints: those of the issuing certificate count too.
func TestGoRefusesForeignHost(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	root := ca.authority.Load().root
	if err := verify(root, signedAnyway(t, ca, "acme.bitrix24.com"), "acme.bitrix24.com"); err != nil {
		t.Fatalf("a listed host: got %v, want no error", err)
	}
	for _, host := range []string{foreign, "bitrix24.com.example.org", "oauth.bitrix.info", "10.0.0.1", "::2"} {
		err := verify(root, signedAnyway(t, ca, host), host)
		if invalid := new(x509.CertificateInvalidError); !errors.As(err, invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: got %v, want that the CA may not sign for it", host, err)
		}
	}
	anchor := *root
	anchor.PermittedDNSDomains, anchor.PermittedIPRanges = nil, nil
	if err := verify(&anchor, signedAnyway(t, ca, foreign), foreign); err == nil {
		t.Error("got no error under a root whose constraints a client ignores, want one")
	}
}

// OpenSSL, also as strict as Python 3.13 makes it, verifies a certificate for a
// listed host and refuses one for a foreign host.
func TestOpenSSLRefusesForeignHost(t *testing.T) {
	openssl := program(t, "openssl")
	dir := newDir(t)
	ca, _ := openTest(t, dir, listed)
	for _, c := range []struct {
		name, host, option, want string
	}{
		{"a listed host", "acme.bitrix24.com", "-verify_hostname", ": OK"},
		{"localhost", "localhost", "-verify_hostname", ": OK"},
		{"a loopback address", "127.0.0.1", "-verify_ip", ": OK"},
		{"a loopback address of version 6", "::1", "-verify_ip", ": OK"},
		{"a foreign host", foreign, "-verify_hostname", "permitted subtree violation"},
		{"a foreign address", "10.0.0.1", "-verify_ip", "permitted subtree violation"},
	} {
		for _, strict := range [][]string{nil, {"-x509_strict", "-partial_chain"}} {
			t.Run(c.name+" "+strings.Join(strict, " "), func(t *testing.T) {
				leaf := filepath.Join(t.TempDir(), "leaf.pem")
				if err := os.WriteFile(leaf, encodeCertificate(signedAnyway(t, ca, c.host).Leaf), 0o600); err != nil {
					t.Fatal(err)
				}
				args := append([]string{"verify", "-purpose", "sslserver", "-CAfile", filepath.Join(dir, rootCert), "-untrusted", filepath.Join(dir, issuingCert), c.option, c.host}, strict...)
				if got, err := said(t, nil, openssl, append(args, leaf)...); !strings.Contains(got, c.want) {
					t.Errorf("got %s (%v), want %q", got, err, c.want)
				}
			})
		}
	}
}

// curl, which trusts bundle.pem, speaks to a server with a certificate for a
// listed host, and refuses one for a foreign host.
func TestCurlRefusesForeignHost(t *testing.T) {
	curl := program(t, "curl")
	dir := newDir(t)
	ca, _ := openTest(t, dir, listed)
	port := serve(t, ca)
	for host, want := range map[string]string{"acme.bitrix24.com": "hello", foreign: "permitted subtree violation"} {
		t.Run(host, func(t *testing.T) {
			got, err := said(t, []string{"CURL_CA_BUNDLE=" + filepath.Join(dir, bundleFile)}, curl,
				"-sS", "--noproxy", "*", "--max-time", "30", "--resolve", host+":"+port+":127.0.0.1", "https://"+host+":"+port+"/")
			if !strings.Contains(got, want) || (err == nil) != (want == "hello") {
				t.Errorf("got %q (%v), want %q", got, err, want)
			}
		})
	}
}

// Node, to which root.pem is added, speaks to a server with a certificate for a
// listed host, and refuses one for a foreign host.
func TestNodeRefusesForeignHost(t *testing.T) {
	node := program(t, "node")
	dir := newDir(t)
	ca, _ := openTest(t, dir, listed)
	port := serve(t, ca)
	const script = `const [port, servername] = process.argv.slice(1)
require('https').get({ host: '127.0.0.1', port, servername, headers: { host: servername } },
  answer => answer.pipe(process.stdout)).on('error', error => console.log(error.code + ' ' + error.message))`
	for host, want := range map[string]string{"acme.bitrix24.com": "hello", foreign: "permitted subtree violation"} {
		t.Run(host, func(t *testing.T) {
			got, err := said(t, []string{"NODE_EXTRA_CA_CERTS=" + filepath.Join(dir, rootCert), "NODE_TLS_REJECT_UNAUTHORIZED="}, node, "-e", script, port, host)
			if !strings.Contains(got, want) {
				t.Errorf("got %q (%v), want %q", got, err, want)
			}
		})
	}
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var servingTLS = regexp.MustCompile(` tls=(\S+)`)

// tlsAddress is where the program listens for TLS.
func (p *process) tlsAddress() string {
	p.t.Helper()
	found := servingTLS.FindStringSubmatch(p.logged())
	if found == nil {
		p.t.Fatalf("got the log %s, want the address of the TLS listener", p.logged())
	}
	return found[1]
}

// reaching returns a client to whom DNS shows one address for every name.
func reaching(address string, roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}}
}

// writeOwn writes a certificate for a host and its key, and returns the files.
func writeOwn(t *testing.T, dir, host string) (certFile, keyFile string) {
	t.Helper()
	certificate, _ := selfSigned(t, host)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A client that trusts the CA calls the portal by its own name, over TLS.
func TestTLSWithTheCA(t *testing.T) {
	t.Parallel()
	portal := serveTLS(t, true)
	dir := filepath.Join(t.TempDir(), "ca")
	p := launch(t, append(portal.settings, "TLS_LISTEN=127.0.0.1:0", "CA_DIR="+dir)...)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(printsRoot(t, dir))
	callWith(t.Context(), reaching(p.tlsAddress(), roots), "POST", "https://"+acme+add, "{}").wantOK(t)
	if portal.Ran("crm.deal.add") != 1 {
		t.Errorf("got %d runs, want 1", portal.Ran("crm.deal.add"))
	}
}

// With a certificate of the operator's own there need be no CA. When its files are
// replaced, the program uses the new certificate without a restart.
func TestTLSWithOwnCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := writeOwn(t, dir, "old.example.org")
	p := launch(t, "TLS_LISTEN=127.0.0.1:0", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile)
	name := func() string {
		conn, err := tls.Dial("tcp", p.tlsAddress(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := name(); got != "old.example.org" {
		t.Errorf("got a certificate for %s, want old.example.org", got)
	}
	writeOwn(t, dir, "new.example.org")
	for began := time.Now(); name() != "new.example.org"; {
		if time.Since(began) > patience {
			t.Fatalf("got the old certificate for %v, want the new one; the log:\n%s", patience, p.logged())
		}
	}
}

// Settings for TLS that do not fit together are refused.
func TestTLSSettings(t *testing.T) {
	certFile, keyFile := writeOwn(t, t.TempDir(), "proxy.example.org")
	_, otherKey := writeOwn(t, t.TempDir(), "proxy.example.org")
	ca := t.TempDir()
	for environ, want := range map[string]string{
		"TLS_LISTEN=:8443":                                                         "TLS_LISTEN: there is no certificate for :8443; set B24PROXY_CA_DIR, or",
		"TLS_LISTEN=:8443 TLS_CERT_FILE=" + certFile:                               "TLS_KEY_FILE: set it to",
		"TLS_LISTEN=:8443 TLS_KEY_FILE=" + keyFile:                                 "TLS_CERT_FILE: set it to",
		"TLS_LISTEN=:8443 TLS_CERT_FILE=" + certFile + " TLS_KEY_FILE=" + otherKey: "TLS_CERT_FILE: " + certFile + " and " + otherKey + ": private key does not match",
		"TLS_LISTEN=:8443 TLS_CERT_FILE=" + certFile + " TLS_KEY_FILE=" + ca:       fmt.Sprintf("TLS_KEY_FILE: %q is not a file", ca),
		"TLS_LISTEN=8443 CA_DIR=" + ca:                                             "TLS_LISTEN: \"8443\" is not host:port: write :8443",
		"TLS_LISTEN=127.0.0.1:8080 CA_DIR=" + ca:                                   "TLS_LISTEN: 127.0.0.1:8080 is also B24PROXY_LISTEN; write another address",
		"TLS_LISTEN=127.0.0.1:8081 CA_DIR=" + ca:                                   "TLS_LISTEN: 127.0.0.1:8081 is also B24PROXY_ADMIN_LISTEN; write another address",
		"TLS_LISTEN=:8443 CA_DIR=" + ca:                                            "",
		"TLS_LISTEN=:8443 TLS_CERT_FILE=" + certFile + " TLS_KEY_FILE=" + keyFile:  "",
		"LISTEN=127.0.0.1:0 TLS_LISTEN=127.0.0.1:0 CA_DIR=" + ca:                   "",
		"CA_DIR=" + ca + " TLS_CERT_FILE=" + certFile + " TLS_KEY_FILE=" + keyFile: "",
	} {
		t.Run(environ, func(t *testing.T) {
			var settings []string
			for setting := range strings.FieldsSeq(environ) {
				settings = append(settings, prefix+setting)
			}
			got := fault(t, settings...)
			if (want == "") != (got == "") || !strings.Contains(got, prefix+want) && want != "" || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

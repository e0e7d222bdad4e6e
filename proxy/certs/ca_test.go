package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// listed are the names of the CAs of these tests.
var listed = Names{Zones: []string{"bitrix24.com", "bitrix24.de"}, Hosts: []string{"crm.example.org", "localhost"}}

// A record is a log that tests read.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *record) log() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// openTest opens a CA and returns what it logs.
func openTest(tb testing.TB, dir string, names Names) (*CA, *record) {
	tb.Helper()
	log := new(record)
	ca, err := Open(dir, names, log.log())
	if err != nil {
		tb.Fatalf("got the error %v, want a CA", err)
	}
	return ca, log
}

func newDir(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "ca")
}

func certificate(tb testing.TB, ca *CA, host string) *tls.Certificate {
	tb.Helper()
	c, err := ca.Certificate(host)
	if err != nil {
		tb.Fatalf("%s: got the error %v, want a certificate", host, err)
	}
	return c
}

// verify checks a certificate as a client does that trusts a root.
func verify(root *x509.Certificate, c *tls.Certificate, host string) error {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, der := range c.Certificate[1:] {
		other, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		others.AddCert(other)
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: host, CurrentTime: time.Now()})
	return err
}

// A certificate is for exactly the host that was asked for, lasts a week from an
// hour ago, and comes with the certificate that issued it.
func TestCertificate(t *testing.T) {
	for _, c := range []struct{ host, want string }{
		{"acme.bitrix24.com", "acme.bitrix24.com"},
		{"ACME.Bitrix24.COM", "acme.bitrix24.com"},
		{"a.b.bitrix24.de", "a.b.bitrix24.de"},
		{"crm.example.org", "crm.example.org"},
		{"localhost", "localhost"},
		{"127.0.0.1", "127.0.0.1"},
		{"127.200.0.9", "127.200.0.9"},
		{"::ffff:127.0.0.1", "127.0.0.1"},
		{"::1", "::1"},
		{"0:0:0:0:0:0:0:1", "::1"},
	} {
		t.Run(c.host, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, _ := openTest(t, newDir(t), listed)
				got := certificate(t, ca, c.host)
				checkLeaf(t, got.Leaf, c.want)
				if len(got.Certificate) != 2 {
					t.Errorf("got %d certificates, want that of the host and that which issued it", len(got.Certificate))
				}
				if err := verify(ca.authority.Load().root, got, c.want); err != nil {
					t.Errorf("got %v, want a chain that a client verifies", err)
				}
			})
		})
	}
}

// checkLeaf checks a certificate that was signed just now.
func checkLeaf(t *testing.T, leaf *x509.Certificate, host string) {
	t.Helper()
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if !slices.Equal(names, []string{host}) || leaf.Subject.String() != "" || len(leaf.EmailAddresses)+len(leaf.URIs) > 0 {
		t.Errorf("got the names %v and the subject %q, want %s alone", names, leaf.Subject, host)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || leaf.IsCA {
		t.Errorf("got the usages %b and %v, CA %v, want those of a server", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.IsCA)
	}
	if start := time.Now().Add(-time.Hour); !leaf.NotBefore.Equal(start) || !leaf.NotAfter.Equal(start.Add(7*24*time.Hour)) {
		t.Errorf("got %v to %v, want a week from an hour ago", leaf.NotBefore, leaf.NotAfter)
	}
	if len(leaf.SerialNumber.Bytes()) < 8 || leaf.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		t.Errorf("got the serial number %v and %v, want a random one and ECDSA", leaf.SerialNumber, leaf.SignatureAlgorithm)
	}
}

// No certificate is signed for a host that is not listed, and none for more than
// one host or for a host in another spelling.
func TestNoCertificate(t *testing.T) {
	names := listed
	names.Zones = append(slices.Clone(names.Zones), "bitrix24.tech")
	names.Hosts = append(slices.Clone(names.Hosts), "oauth.bitrix.info", "10.0.0.7")
	ca, log := openTest(t, newDir(t), names)
	for _, host := range []string{
		"", ".", "example.com", "bitrix24.com", "xbitrix24.com", "acme.bitrix24.com.evil.example", "example.org", "x.crm.example.org", "x.localhost",
		"*.bitrix24.com", "*", ".bitrix24.com", "a..bitrix24.com", "acme.bitrix24.com.", "acme.bitrix24.com:443", "acme_\x00.bitrix24.com", "a b.bitrix24.com",
		"a,b.bitrix24.com", "аcme.bitrix24.com", strings.Repeat("a", 64) + ".bitrix24.com", strings.Repeat("a.", 130) + "bitrix24.com",
		"oauth.bitrix.info", "oauth.bitrix24.tech", "x.oauth.bitrix24.tech", "OAUTH.bitrix24.TECH",
		"10.0.0.7", "8.8.8.8", "0.0.0.0", "::", "::2", "::1%lo", "[::1]", "127.1", "0x7f.0.0.1", "2130706433",
	} {
		if c, err := ca.Certificate(host); err == nil || !strings.HasPrefix(err.Error(), "no certificate is signed: ") {
			t.Errorf("%q: got a certificate %v and the error %v, want none and why", host, c != nil, err)
		}
	}
	if ca.leaves.Len() != 0 {
		t.Errorf("got %d places taken by hosts without a certificate, want none", ca.leaves.Len())
	}
	certificate(t, ca, "acme.bitrix24.tech")
	if !strings.Contains(log.String(), `hosts="[oauth.bitrix.info 10.0.0.7]"`) {
		t.Errorf("got the log %s, want a warning of the hosts that are never signed for", log)
	}
	if c := ca.authority.Load().root; !slices.Equal(c.ExcludedDNSDomains, []string{"oauth.bitrix24.tech"}) {
		t.Errorf("got the excluded domains %v, want the OAuth host that a listed zone includes", c.ExcludedDNSDomains)
	}
}

// A name may be as long as DNS allows, and no longer.
func TestLongestNames(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	label := strings.Repeat("a", 63)
	long := strings.Repeat("a.", 120) + "bitrix24.com" // 252 bytes
	for host, want := range map[string]bool{
		label + ".bitrix24.com":  true,
		label + "a.bitrix24.com": false,
		"b" + long:               true,
		"bb" + long:              false,
	} {
		if _, err := ca.Certificate(host); (err == nil) != want {
			t.Errorf("%d bytes: got the error %v, want a certificate: %v", len(host), err, want)
		}
	}
}

// A server that asks the CA for each handshake is trusted by a client that
// trusts the root, in TLS 1.2 and 1.3, and by nobody else.
func TestHandshake(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	server := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Certificate(hello.ServerName) }}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.RootPEM())
	for _, c := range []struct {
		name    string
		roots   *x509.CertPool
		version uint16
		want    bool
	}{
		{"TLS 1.3", roots, tls.VersionTLS13, true},
		{"TLS 1.2", roots, tls.VersionTLS12, true},
		{"a client that does not trust the root", x509.NewCertPool(), tls.VersionTLS13, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			go func() { // the server ends when the client's end is closed
				if tls.Server(far, server).Handshake() == nil {
					io.Copy(io.Discard, far)
				}
				far.Close()
			}()
			err := tls.Client(near, &tls.Config{ServerName: "acme.bitrix24.com", RootCAs: c.roots, MaxVersion: c.version}).Handshake()
			if (err == nil) != c.want {
				t.Errorf("got the error %v, want success: %v", err, c.want)
			}
		})
	}
}

// A certificate is kept, and signed anew after two thirds of its life.
func TestCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, _ := openTest(t, newDir(t), listed)
		first := certificate(t, ca, "acme.bitrix24.com")
		time.Sleep(leafLife*2/3 - backdate - time.Second)
		if certificate(t, ca, "acme.bitrix24.com") != first {
			t.Error("got another certificate before two thirds of its life, want the same")
		}
		time.Sleep(time.Second)
		second := certificate(t, ca, "acme.bitrix24.com")
		if second == first || !second.Leaf.NotBefore.Equal(time.Now().Add(-backdate)) {
			t.Errorf("got a certificate of %v, want a new one", second.Leaf.NotBefore)
		}
	})
}

// Many handshakes at once for one host cost one signature.
func TestOneSignatureAtATime(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	var all [32]*tls.Certificate
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], _ = ca.Certificate("acme.bitrix24.com") })
	}
	wg.Wait()
	for _, c := range all {
		if c == nil || c != all[0] {
			t.Fatal("got several certificates, want one")
		}
	}
}

// However many hosts are asked for, the number of certificates that are kept has
// a bound; those that were used last stay.
func TestCacheIsBounded(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	kept, gone := certificate(t, ca, "kept.bitrix24.com"), certificate(t, ca, "gone.bitrix24.com")
	for i := range maxLeaves {
		ca.leaf(fmt.Sprintf("p%d.bitrix24.com", i))
		ca.leaf("kept.bitrix24.com")
	}
	if ca.leaves.Len() != maxLeaves {
		t.Errorf("got %d places, want %d", ca.leaves.Len(), maxLeaves)
	}
	if certificate(t, ca, "kept.bitrix24.com") != kept {
		t.Error("got another certificate for the host that was used last, want the one that was kept")
	}
	if certificate(t, ca, "gone.bitrix24.com") == gone {
		t.Error("got the certificate that was used least, want that it was dropped")
	}
}

// Neither the CA, nor a certificate, nor a pair prints a private key, in
// whatever way it is printed.
func TestKeysCannotBePrinted(t *testing.T) {
	ca, _ := openTest(t, newDir(t), listed)
	leaf := certificate(t, ca, "acme.bitrix24.com")
	issuing := ca.authority.Load().key
	secrets := make([]string, 0, 8)
	for _, k := range []*key{issuing, leaf.PrivateKey.(*key)} {
		raw, err := k.private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, new(big.Int).SetBytes(raw).String(), fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), strings.Trim(fmt.Sprint(raw), "[]"))
	}
	var said record
	log, asJSON := said.log(), slog.New(slog.NewJSONHandler(&said, nil))
	for _, v := range []any{ca, *ca.authority.Load(), ca.authority.Load(), leaf, *leaf, issuing, *issuing, pair{key: issuing}, leaf.PrivateKey, errors.New(fmt.Sprint(leaf))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&said, verb+"\n", v)
		}
		text, _ := json.Marshal(v)
		said.Write(text)
		log.Info("", "v", v)
		asJSON.Info("", "v", v)
	}
	for _, secret := range secrets {
		if strings.Contains(said.String(), secret) {
			t.Errorf("got the key in what was printed, want it nowhere")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	ca, _ := openTest(b, newDir(b), listed)
	a := ca.authority.Load()
	for b.Loop() {
		if _, err := a.sign("acme.bitrix24.com", time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCertificate(b *testing.B) {
	ca, _ := openTest(b, newDir(b), listed)
	for b.Loop() {
		if _, err := ca.Certificate("acme.bitrix24.com"); err != nil {
			b.Fatal(err)
		}
	}
}

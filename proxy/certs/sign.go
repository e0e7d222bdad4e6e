package certs

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
)

const (
	rootYears    = 10
	issuingYears = 1
	leafLife     = 7 * 24 * time.Hour
	backdate     = time.Hour // for clients whose clocks are slow
)

// An authority signs for hosts: the root, and the pair that it signed.
type authority struct {
	root    *x509.Certificate
	issuing *x509.Certificate
	key     *key // of issuing
}

// dueAt returns when a certificate should be made anew: after two thirds of its
// life.
func dueAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

// endsSoon reports whether a root ends before an issuing certificate would that
// is made now.
func endsSoon(root *x509.Certificate, now time.Time) bool {
	return root.NotAfter.Before(now.AddDate(issuingYears, 0, 0))
}

// signRoot makes a root. Its name follows from the key, so another root of the
// same key has the same name, and what one of them signed is valid under both.
func signRoot(k *key, n Names, now time.Time) (*x509.Certificate, error) {
	template := newCA("root", k, now, rootYears)
	template.MaxPathLen = 1
	template.AuthorityKeyId = template.SubjectKeyId
	template.PermittedIPRanges = loopback
	var err error
	if template.PermittedDNSDomains, template.ExcludedDNSDomains, err = n.constraints(); err != nil {
		return nil, err
	}
	return issue(template, template, k, k)
}

// signIssuing makes an issuing certificate under a root, with its constraints.
func signIssuing(root pair, k *key, now time.Time) (*x509.Certificate, error) {
	template := newCA("issuing", k, now, issuingYears)
	template.MaxPathLenZero = true
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.NotAfter = earlier(template.NotAfter, root.cert.NotAfter)
	template.PermittedIPRanges = root.cert.PermittedIPRanges
	template.PermittedDNSDomains = root.cert.PermittedDNSDomains
	template.ExcludedDNSDomains = root.cert.ExcludedDNSDomains
	return issue(template, root.cert, k, root.key)
}

// newCA returns what the certificates of root and issuing have in common. Other
// programs that verify strictly, such as Python 3.13, want the key ids.
func newCA(role string, k *key, now time.Time, years int) *x509.Certificate {
	id := sha256.Sum256(k.point())
	return &x509.Certificate{
		Subject:                     pkix.Name{CommonName: fmt.Sprintf("b24proxy %s %x", role, id[:4])},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(-backdate).AddDate(years, 0, 0),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		SubjectKeyId:                id[:20],
		PermittedDNSDomainsCritical: true,
	}
}

// sign makes a certificate for one host. It checks no constraints.
func (a *authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	if now.After(a.issuing.NotAfter) {
		return nil, fmt.Errorf("the issuing certificate ended on %s and could not be renewed; put root.key into the folder of the CA and restart", day(a.issuing.NotAfter))
	}
	k, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := issue(a.template(host, now), a.issuing, k, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.issuing.Raw}, PrivateKey: k, Leaf: cert}, nil
}

// template returns what the certificate of a host says.
func (a *authority) template(host string, now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		NotBefore:             now.Add(-backdate),
		NotAfter:              earlier(now.Add(leafLife-backdate), a.issuing.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	return template
}

// issue signs a certificate with a random serial number, which CreateCertificate
// chooses.
func issue(template, parent *x509.Certificate, subject, signer *key) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

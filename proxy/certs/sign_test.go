package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Root and issuing certificate have the fields that clients need, and the same
// critical name constraints, without excluded addresses.
func TestAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, _ := openTest(t, newDir(t), listed)
		a := ca.authority.Load()
		start := time.Now().Add(-time.Hour)
		for _, c := range []struct {
			role       string
			cert       *x509.Certificate
			years      int
			pathLength int
		}{
			{"root", a.root, 10, 1},
			{"issuing", a.issuing, 1, 0},
		} {
			got := c.cert
			if !got.NotBefore.Equal(start) || !got.NotAfter.Equal(start.AddDate(c.years, 0, 0)) {
				t.Errorf("%s: got %v to %v, want %d years from an hour ago", c.role, got.NotBefore, got.NotAfter, c.years)
			}
			if !got.IsCA || got.MaxPathLen != c.pathLength || got.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
				t.Errorf("%s: got CA %v, path length %d, usage %b, want a CA of path length %d", c.role, got.IsCA, got.MaxPathLen, got.KeyUsage, c.pathLength)
			}
			if public, is := got.PublicKey.(*ecdsa.PublicKey); !is || public.Curve != elliptic.P256() {
				t.Errorf("%s: got the key %T, want ECDSA on P-256", c.role, got.PublicKey)
			}
			if len(got.SubjectKeyId) != 20 || string(got.AuthorityKeyId) != string(a.root.SubjectKeyId) {
				t.Errorf("%s: got the key id %x under %x, want the root's above", c.role, got.SubjectKeyId, got.AuthorityKeyId)
			}
			if !strings.HasPrefix(got.Subject.CommonName, "b24proxy "+c.role+" ") {
				t.Errorf("%s: got the name %q, want one that says what it is", c.role, got.Subject)
			}
			checkConstraints(t, got, "[bitrix24.com bitrix24.de crm.example.org localhost]")
		}
		for _, extension := range append(slices.Clone(a.root.Extensions), a.issuing.Extensions...) {
			if id := extension.Id.String(); id == "2.5.29.19" && !extension.Critical {
				t.Error("got basic constraints that are not critical, want them critical")
			}
		}
	})
}

func checkConstraints(t *testing.T, c *x509.Certificate, domains string) {
	t.Helper()
	if nameConstraints(c) == nil || !c.PermittedDNSDomainsCritical {
		t.Error("got no critical name constraints, want some")
	}
	if got := fmt.Sprint(c.PermittedDNSDomains); got != domains {
		t.Errorf("got the domains %s, want %s", got, domains)
	}
	if got := fmt.Sprint(c.PermittedIPRanges); got != "[127.0.0.0/8 ::1/128]" {
		t.Errorf("got the addresses %s, want loopback", got)
	}
	if n := len(c.ExcludedDNSDomains) + len(c.ExcludedIPRanges) + len(c.PermittedEmailAddresses) + len(c.PermittedURIDomains); n > 0 {
		t.Errorf("got %d other constraints, want none", n)
	}
}

// A root permits what is listed and nothing beside it: each domain once, none
// that another includes, never an OAuth host, and never everything.
func TestConstraints(t *testing.T) {
	many := make([]string, maxNames+1)
	for i := range many {
		many[i] = fmt.Sprintf("p%d.example.org", i)
	}
	for _, c := range []struct {
		name                string
		names               Names
		permitted, excluded string
		fails               string
	}{
		{"zones and hosts", Names{[]string{"bitrix24.com"}, []string{"a.example.org"}}, "[a.example.org bitrix24.com]", "[]", ""},
		{"each once", Names{[]string{"bitrix24.com", "bitrix24.com"}, []string{"a.bitrix24.com", "bitrix24.com", "b24.com"}}, "[b24.com bitrix24.com]", "[]", ""},
		{"a zone within a zone", Names{[]string{"eu.example.org", "example.org"}, nil}, "[example.org]", "[]", ""},
		{"loopback addresses are always permitted", Names{nil, []string{"127.0.0.1", "localhost"}}, "[localhost]", "[]", ""},
		{"OAuth hosts are not permitted", Names{[]string{"oauth.bitrix24.tech"}, []string{"oauth.bitrix.info", "localhost"}}, "[localhost]", "[]", ""},
		{"a zone that includes an OAuth host excludes it", Names{[]string{"bitrix24.tech", "bitrix.info"}, nil}, "[bitrix.info bitrix24.tech]", "[oauth.bitrix.info oauth.bitrix24.tech]", ""},
		{"nothing", Names{}, "[]", "[]", "no host is listed"},
		{"only addresses", Names{[]string{"10.0.0.1"}, []string{"10.0.0.7", "127.0.0.1"}}, "[]", "[]", "no host is listed"},
		{"too many", Names{nil, many}, "", "[]", "1001 portals are listed, and a CA can have 1000"},
		{"as many as there may be", Names{nil, many[1:]}, "", "[]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			permitted, excluded, err := c.names.constraints()
			if c.permitted != "" && fmt.Sprint(permitted) != c.permitted || fmt.Sprint(excluded) != c.excluded {
				t.Errorf("got %v without %v, want %s without %s", permitted, excluded, c.permitted, c.excluded)
			}
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("got the error %v, want %q", err, c.fails)
			}
		})
	}
}

// The issuing certificate is renewed at two thirds of its life while the process
// runs, with another key, and clients that know the root alone verify what both
// issued.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, log := openTest(t, newDir(t), listed)
		go ca.Renew(t.Context())
		before := ca.authority.Load()
		leaf := certificate(t, ca, "acme.bitrix24.com")
		time.Sleep(time.Until(dueAt(before.issuing)) - time.Second)
		if ca.authority.Load() != before {
			t.Error("got another issuing certificate before two thirds of its life, want the same")
		}
		time.Sleep(checkEvery)
		synctest.Wait()
		after := ca.authority.Load()
		if after.issuing.Equal(before.issuing) || after.key.private.Equal(before.key.private) || !after.root.Equal(before.root) {
			t.Fatalf("got the certificate %v under %v, want another under the same root", after.issuing.Subject, after.root.Subject)
		}
		if !strings.Contains(log.String(), "two thirds") {
			t.Errorf("got the log %s, want a line that says why", log)
		}
		if next := certificate(t, ca, "acme.bitrix24.com"); next == leaf || verify(before.root, next, "acme.bitrix24.com") != nil {
			t.Error("got a certificate that the root does not verify, want one that it does")
		}
		old, err := before.sign("acme.bitrix24.com", time.Now())
		if err != nil || verify(after.root, old, "acme.bitrix24.com") != nil {
			t.Errorf("got the error %v, want that another process may go on with the old one", err)
		}
	})
}

// For ten years a CA signs what clients verify, and renews what it signs with;
// in its last year it warns each day; then it refuses to sign, and says what to
// do.
func TestWholeLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := newDir(t)
		ca, log := openTest(t, dir, listed)
		go ca.Renew(t.Context())
		root := ca.authority.Load().root
		const month = 30 * 24 * time.Hour
		for left := time.Until(root.NotAfter); left > month; left = time.Until(root.NotAfter) {
			if err := verify(root, certificate(t, ca, "acme.bitrix24.com"), "acme.bitrix24.com"); err != nil {
				t.Fatalf("%v before the end: got %v, want a certificate that a client verifies", left, err)
			}
			if warned, want := strings.Contains(log.String(), "ends within a year"), left < 12*month; warned != want && (want || left > 13*month) {
				t.Fatalf("%v before the end: got a warning: %v, want %v", left, warned, want)
			}
			time.Sleep(month)
		}
		if n := strings.Count(log.String(), "made an issuing certificate"); n < 14 {
			t.Errorf("got %d issuing certificates in ten years, want one about every 8 months", n)
		}
		time.Sleep(time.Until(root.NotAfter) + 2*24*time.Hour)
		if _, err := ca.Certificate("acme.bitrix24.com"); err == nil || !strings.Contains(err.Error(), "ended on") {
			t.Errorf("got the error %v, want that it ended", err)
		}
		if !strings.Contains(log.String(), "cannot be renewed") {
			t.Errorf("got the log %s, want that it cannot be renewed", log)
		}
		if _, err := Open(dir, listed, log.log()); err == nil || !strings.Contains(err.Error(), "root.pem ended on") || !strings.Contains(err.Error(), "move root.pem away") {
			t.Errorf("got the error %v, want that it ended and what to do", err)
		}
		synctest.Wait()
	})
}

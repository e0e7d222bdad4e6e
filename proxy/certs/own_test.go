package certs

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A pairOfFiles is where an operator keeps a certificate.
type pairOfFiles struct{ cert, key string }

func newPair(t *testing.T) pairOfFiles {
	t.Helper()
	dir := t.TempDir()
	return pairOfFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

// signedFor returns a certificate for a host and its key, as PEM.
func signedFor(t *testing.T, host string) (cert, keyPEM []byte) {
	t.Helper()
	ca, err := Open(t.TempDir(), Names{Hosts: []string{host}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.Certificate(host)
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range c.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	keyPEM, err = encodeKey(c.PrivateKey.(*key))
	if err != nil {
		t.Fatal(err)
	}
	return cert, keyPEM
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func hostOf(t *testing.T, p *Own) string {
	t.Helper()
	c, err := p.Certificate("")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(c.Leaf.DNSNames, " ")
}

// A certificate that was replaced is used a second later. Until its key is replaced,
// too, the old one is used, and the log says once why.
func TestOwnCertificateIsReadAgain(t *testing.T) {
	files := newPair(t)
	oldCert, oldKey := signedFor(t, "old.example.org")
	newCert, newKey := signedFor(t, "new.example.org")
	synctest.Test(t, func(t *testing.T) {
		write(t, files.cert, oldCert)
		write(t, files.key, oldKey)
		var log bytes.Buffer
		p, err := OpenOwn(files.cert, files.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			change func()
			want   string
			errors int // in the log so far
		}{
			{func() {}, "old.example.org", 0},
			{func() { write(t, files.cert, newCert) }, "old.example.org", 1},
			{func() {}, "old.example.org", 1},
			{func() { write(t, files.key, newKey) }, "new.example.org", 1},
			{func() { os.Remove(files.key) }, "new.example.org", 2},
			{func() { write(t, files.cert, oldCert); write(t, files.key, oldKey) }, "old.example.org", 2},
		} {
			step.change()
			time.Sleep(lookEvery)
			if got, errors := hostOf(t, p), strings.Count(log.String(), "level=ERROR"); got != step.want || errors != step.errors {
				t.Errorf("got a certificate for %s and %d errors, want %s and %d; the log:\n%s", got, errors, step.want, step.errors, &log)
			}
		}
	})
}

// The files are read at most once a second.
func TestOwnCertificateIsNotReadForEachClient(t *testing.T) {
	files := newPair(t)
	cert, key := signedFor(t, "old.example.org")
	newCert, newKey := signedFor(t, "new.example.org")
	synctest.Test(t, func(t *testing.T) {
		write(t, files.cert, cert)
		write(t, files.key, key)
		p, err := OpenOwn(files.cert, files.key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		write(t, files.cert, newCert)
		write(t, files.key, newKey)
		time.Sleep(lookEvery - 1)
		if got := hostOf(t, p); got != "old.example.org" {
			t.Errorf("got a certificate for %s, want that of before", got)
		}
	})
}

// What cannot be used is refused at the start, with the files and what is wrong, and
// without what is in them.
func TestOwnCertificateThatCannotBeUsed(t *testing.T) {
	cert, key := signedFor(t, "old.example.org")
	_, otherKey := signedFor(t, "new.example.org")
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"no certificate":      {nil, key, "no such file"},
		"no key":              {cert, nil, "no such file"},
		"another key":         {cert, otherKey, "does not match"},
		"something else":      {[]byte("s3cret"), key, "failed to find any PEM data"},
		"key and certificate": {key, cert, "failed to find"},
	} {
		t.Run(name, func(t *testing.T) {
			files := newPair(t)
			if c.cert != nil {
				write(t, files.cert, c.cert)
			}
			if c.key != nil {
				write(t, files.key, c.key)
			}
			_, err := OpenOwn(files.cert, files.key, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Dir(files.cert)) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want an error with the file and %q", err, c.want)
			}
		})
	}
}

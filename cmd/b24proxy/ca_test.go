package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// printsRoot runs the program with -ca.
func printsRoot(t *testing.T, dir string) []byte {
	t.Helper()
	c := exec.Command(binary, "-ca")
	c.Env = []string{"B24PROXY_CA_DIR=" + dir}
	out, err := c.Output()
	if err != nil {
		t.Errorf("got the error %v, want the root certificate", err)
	}
	return out
}

// Programs that start at the same moment make one CA, and -ca prints its root
// and nothing else. A program that serves takes it over, also after a kill.
func TestCA(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	var roots [4][]byte
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() { roots[i] = printsRoot(t, dir) })
	}
	wg.Wait()
	for range 2 {
		p := launch(t, "CA_DIR="+dir)
		p.cmd.Process.Kill()
		p.wait()
		if strings.Contains(p.logged(), "made a") {
			t.Errorf("got the log %s, want that the CA is taken over", p.logged())
		}
	}
	for _, root := range append(roots[:], printsRoot(t, dir)) {
		if !bytes.Equal(root, roots[0]) {
			t.Errorf("got the roots\n%s and\n%s, want one", root, roots[0])
		}
	}
	block, rest := pem.Decode(roots[0])
	if block == nil || len(rest) > 0 {
		t.Fatalf("got %q, want one PEM block", roots[0])
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !root.IsCA || !strings.Contains(fmt.Sprint(root.PermittedDNSDomains), "bitrix24.com bitrix24.com.br") {
		t.Errorf("got %v (%v), want a CA that permits the zones of the cloud", root, err)
	}
}

// A program that starts without a CA in its folder makes it and says so.
func TestCAIsMadeAtTheStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	p := launch(t, "CA_DIR="+dir, "PORTALS=crm.example.org")
	if !strings.Contains(p.logged(), "made a root certificate; clients must trust it") {
		t.Errorf("got the log %s, want a line about the CA", p.logged())
	}
	if root, err := os.ReadFile(filepath.Join(dir, "root.pem")); err != nil || !bytes.Equal(root, printsRoot(t, dir)) {
		t.Errorf("got %s (%v), want the root in the folder", root, err)
	}
}

// Without a folder there is nothing to print; a folder that cannot be used is
// an error with its setting, for -ca and at the start, and shows no key.
func TestCAThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	if code, stdout, stderr := runCommand(t, nil, "-ca"); code != 1 || stdout != "" || !strings.Contains(stderr, "B24PROXY_CA_DIR is not set") {
		t.Errorf("got exit code %d, output %q, errors %q, want 1 and that the setting is missing", code, stdout, stderr)
	}
	dir := filepath.Join(t.TempDir(), "ca")
	printsRoot(t, dir)
	key, err := os.ReadFile(filepath.Join(dir, "issuing.key"))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "root.pem"), key, 0o600)
	p := launch(t, "CA_DIR="+dir)
	code, _, stderr := runCommand(t, []string{"B24PROXY_CA_DIR=" + dir}, "-ca")
	for name, got := range map[string]struct {
		code int
		said string
	}{"the start": {p.wait(), p.logged()}, "-ca": {code, stderr}} {
		if got.code != 1 || !strings.Contains(got.said, "B24PROXY_CA_DIR: ") || !strings.Contains(got.said, "root.pem is damaged") {
			t.Errorf("%s: got exit code %d and %q, want 1 and what is wrong with the folder", name, got.code, got.said)
		}
		if strings.Contains(got.said, string(key[40:60])) {
			t.Errorf("%s: got the key in %q, want it nowhere", name, got.said)
		}
	}
}

// -check looks at the setting and makes nothing.
func TestCheckMakesNoCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if code, _, stderr := runCommand(t, []string{"B24PROXY_CA_DIR=" + dir}, "-check"); code != 0 || stderr != "" {
		t.Errorf("got exit code %d and errors %q, want 0 and none", code, stderr)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("got a folder, want none")
	}
}

// The CA signs for the portals that may be called, without their ports, for the
// upstream, and for the names of the proxy on this machine.
func TestNamesOfCA(t *testing.T) {
	for name, c := range map[string]struct{ environ, zones, hosts string }{
		"the cloud":                  {"", "bitrix24.com", "[localhost]"},
		"listed portals":             {"PORTALS=crm.example.org:8443,*.example.net,ACME.bitrix24.com", "[example.net]", "[localhost crm.example.org acme.bitrix24.com]"},
		"an upstream":                {"PORTALS=*.example.net UPSTREAM=https://crm.example.org:8443", "[example.net]", "[localhost crm.example.org]"},
		"an upstream by its address": {"PORTALS=*.example.net UPSTREAM=http://127.0.0.1:8090", "[example.net]", "[localhost]"},
		"a name to listen on":        {"PORTALS=*.example.net LISTEN=Proxy.internal:8080", "[example.net]", "[localhost proxy.internal]"},
		"a name to listen on by TLS": {"PORTALS=*.example.net TLS_LISTEN=Gate.internal:8443 CA_DIR=" + t.TempDir(), "[example.net]", "[localhost gate.internal]"},
		"every address":              {"PORTALS=*.example.net LISTEN=:8080", "[example.net]", "[localhost]"},
	} {
		t.Run(name, func(t *testing.T) {
			var environ []string
			for setting := range strings.FieldsSeq(c.environ) {
				environ = append(environ, prefix+setting)
			}
			s, _, err := readSettings(environ)
			if err != nil {
				t.Fatal(err)
			}
			got := s.certNames()
			if !strings.Contains(fmt.Sprint(got.Zones), c.zones) || fmt.Sprint(got.Hosts) != c.hosts {
				t.Errorf("got the zones %v and the hosts %v, want %s and %s", got.Zones, got.Hosts, c.zones, c.hosts)
			}
		})
	}
}

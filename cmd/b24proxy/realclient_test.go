package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The tests TestRealClient… call a portal through the program with what people use:
// SDKs, libraries and curl, unmodified. .ci/setup installs these. A test whose client
// is missing is skipped, except in CI, where it fails.

// missing skips a test that lacks a client.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; CI must run this test with it", what)
	}
	t.Skipf("needs %s; .ci/setup installs it", what)
}

// needs skips a test unless a program with these arguments exits with 0.
func needs(t *testing.T, program string, args ...string) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), program, args...).Run(); err != nil {
		missing(t, strings.Join(append([]string{program}, args...), " "))
	}
}

// A gateway is the program in front of a portal that it reaches by its own name. It
// serves clients in every way: as a proxy and as a server, with TLS and without.
type gateway struct {
	*process
	portal  *tlsPortal
	environ []string // what command lines can name
	folder  string   // where they run
	ca      string   // the folder of the CA
}

// newGateway runs the program. Command lines reach it at $http and, over TLS, at $tls
// (host:port). $ca is the folder of its CA. They call the portal at $acme, where
// $add is the path of a method. Nothing else is in their environment, so no proxy and no
// certificate but those that they name.
func newGateway(t *testing.T, settings ...string) *gateway {
	t.Helper()
	portal := serveTLS(t, true)
	return gatewayTo(t, portal, settings...)
}

// gatewayTo does the same for a portal that is there.
func gatewayTo(t *testing.T, portal *tlsPortal, settings ...string) *gateway {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca")
	p := launch(t, append(append(portal.settings, "TLS_LISTEN=127.0.0.1:0", "CA_DIR="+ca), settings...)...)
	return &gateway{process: p, portal: portal, folder: "testdata/realclient", ca: ca, environ: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir(),
		"http=" + strings.TrimPrefix(p.clients, "http://"), "tls=" + p.tlsAddress(), "ca=" + ca, "acme=" + acme, "add=" + add,
	}}
}

// shell runs a command line and returns all that it writes.
func (g *gateway) shell(t *testing.T, line string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", line)
	c.Dir, c.Env, c.WaitDelay = g.folder, g.environ, time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", line, err)
	}
	return strings.TrimSpace(string(out))
}

// A clientCase is a command line, what it must write, and how many calls must
// arrive at the portal.
type clientCase struct {
	name, line, want string
	calls            int
}

// wantEach runs command lines, one after another.
func (g *gateway) wantEach(t *testing.T, cases []clientCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g.portal.Reset()
			if got := g.shell(t, c.line); !strings.Contains(got, c.want) {
				t.Errorf("%s\ngot %s\nwant %s", c.line, got, c.want)
			}
			g.wantArrived(t, c.calls)
		})
	}
}

// wantArrived fails the test unless so many calls have arrived at the portal, all to its
// own name and without a client key.
func (g *gateway) wantArrived(t *testing.T, calls int) {
	t.Helper()
	if n := g.portal.Arrived(); n != calls {
		t.Errorf("got %d calls at the portal, want %d", n, calls)
	}
	if wrong := g.portal.wrong.Load(); wrong != nil {
		t.Errorf("the portal got %v, want its own name and HTTP/2", wrong)
	}
	for _, c := range g.portal.Calls() {
		if c.Header["Authorization"] != nil || c.Header["Proxy-Authorization"] != nil {
			t.Errorf("the portal got the header %v, want no key", c.Header)
		}
	}
}

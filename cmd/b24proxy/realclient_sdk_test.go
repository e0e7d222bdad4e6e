package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"b24proxy/proxy/b24sim"
)

// realClient names a copy of testdata/realclient where `npm ci` was run.
const realClient = "B24PROXY_REALCLIENT"

// sdkFolder is where the SDK of Bitrix24 is.
func sdkFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv(realClient)
	if folder == "" {
		missing(t, realClient+" (a copy of testdata/realclient where npm ci was run)")
	}
	return folder
}

// An sdkRun is what client.mjs prints.
type sdkRun struct {
	Succeeded, Results, Retries, Errors, Refreshes int
	Batch                                          any // the number of its results, or an error
	Failures                                       []string
}

// wantSDKRun fails the test unless all calls of the SDK have succeeded, and none had to be
// repeated.
func wantSDKRun(t *testing.T, printed string, calls int) (got sdkRun) {
	t.Helper()
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("got %s, want JSON", printed)
	}
	if got.Succeeded != calls || got.Results != calls || got.Batch != 3.0 || got.Retries != 0 || got.Errors != 0 {
		t.Errorf("got %s, want %d successes, a batch with 3 results, no retry, no error", printed, calls)
	}
	return got
}

// sdkCalls is how often the SDK called the portal. It fails the test unless every call
// has the header of the SDK.
func sdkCalls(t *testing.T, sim *b24sim.Portal) int {
	t.Helper()
	for _, c := range sim.Calls() {
		if c.Header.Get("User-Agent") != "b24-js-sdk/2.2.0" {
			t.Fatalf("got the header %v, want that of the SDK", c.Masked().Header)
		}
	}
	return sim.Arrived()
}

// The SDK of Bitrix24 sends 200 calls at once. All succeed, the portal refuses none,
// and the SDK repeats none.
func TestRealClient(t *testing.T) {
	folder := sdkFolder(t)
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)

	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(folder, "client.mjs"), "oauth", p.clients, "200").CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	wantSDKRun(t, string(out), 200)
	if sim.Refused() != 0 || sdkCalls(t, sim) != 201 || sim.Ran("crm.deal.add") != 200 {
		t.Errorf("got %d calls at the portal, %d refused, %d run, want 201, 0, 200", sim.Arrived(), sim.Refused(), sim.Ran("crm.deal.add"))
	}
}

// With the address of a webhook the SDK always uses https and the portal's own name. Its
// calls come through the proxy if DNS leads that name there, or if the proxy is in its
// environment, and if its process trusts the CA.
func TestRealClientWebhook(t *testing.T) {
	t.Parallel()
	folder := sdkFolder(t)
	g := newGateway(t)
	g.folder = folder
	for name, line := range map[string]string{
		"the portal's name, led here by DNS": `B24PROXY_TEST_443=$tls node --import ./hosts.mjs client.mjs webhook https://$acme/rest/1/hookcode0123456/ 20`,
		"https_proxy":                        `https_proxy=http://$http node client.mjs webhook https://$acme/rest/1/hookcode0123456/ 20`,
	} {
		t.Run(name, func(t *testing.T) {
			g.portal.Reset()
			before := g.metric("requests_total", `outcome="ok"`)
			wantSDKRun(t, g.shell(t, "export NODE_EXTRA_CA_CERTS=$ca/root.pem; "+line), 20)
			if n, through := sdkCalls(t, g.portal.Portal), g.metric("requests_total", `outcome="ok"`)-before; n != 21 || through != 21 {
				t.Errorf("got %d calls at the portal and %g through the proxy, want 21 and 21", n, through)
			}
		})
	}
}

// @2bad/bitrix takes a webhook at any address.
func TestRealClient2bad(t *testing.T) {
	t.Parallel()
	folder := sdkFolder(t)
	g := newGateway(t)
	g.folder = folder
	g.wantEach(t, []clientCase{
		{"a list, whose other pages come in a batch", `node 2bad.mjs http://$http/$acme/rest/1/hookcode0123456`, "137 items", 2},
	})
}

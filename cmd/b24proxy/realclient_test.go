package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// realClient names a copy of testdata/realclient where `npm ci` was run.
const realClient = "B24PROXY_REALCLIENT"

// The unmodified SDK of Bitrix24 sends 200 calls at once. All succeed, the
// portal refuses none, and the SDK repeats none.
func TestRealClient(t *testing.T) {
	folder := os.Getenv(realClient)
	if folder == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set; CI must run this test with the SDK", realClient)
		}
		t.Skipf("needs Node and the SDK: %s must name a copy of testdata/realclient where npm ci was run (.ci/setup does that)", realClient)
	}
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)

	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(folder, "client.mjs"), p.clients, "200").Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		t.Fatalf("node: %v\n%s", err, failed.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Succeeded, Results, Retries, Errors int
		Failures                            []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if got.Succeeded != 200 || got.Results != 200 || got.Retries != 0 || got.Errors != 0 {
		t.Errorf("got %s, want 200 successes, no retry, no error", out)
	}
	if sim.Refused() != 0 || sim.Arrived() != 200 || sim.Ran("crm.deal.add") != 200 {
		t.Errorf("got %d calls at the portal, %d refused, %d run, want 200, 0, 200", sim.Arrived(), sim.Refused(), sim.Ran("crm.deal.add"))
	}
	for _, c := range sim.Calls() {
		if c.Header.Get("User-Agent") != "b24-js-sdk/2.2.0" {
			t.Fatalf("got the header %v, want that of the SDK", c.Masked().Header)
		}
	}
	t.Logf("%s", out)
}

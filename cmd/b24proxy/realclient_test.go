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

// Bitrix24's own SDK, unmodified, sends 200 calls at once: all succeed, the
// portal refuses none, and the SDK saw nothing that it would have repeated.
func TestRealClient(t *testing.T) {
	folder := os.Getenv(realClient)
	if folder == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI is to run this with the SDK: %s is not set", realClient)
		}
		t.Skipf("needs Node and the SDK: %s is to name a copy of testdata/realclient where npm ci was run (.ci/run does that)", realClient)
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
		t.Errorf("the SDK says %s", out)
	}
	if sim.Refused() != 0 || sim.Arrived() != 200 || sim.Ran("crm.deal.add") != 200 {
		t.Errorf("the portal refused %d of %d, ran %d", sim.Refused(), sim.Arrived(), sim.Ran("crm.deal.add"))
	}
	for _, c := range sim.Calls() {
		if c.Header.Get("User-Agent") != "b24-js-sdk/2.2.0" {
			t.Fatalf("these are not the SDK's calls: %v", c.Masked().Header)
		}
	}
	t.Logf("%s", out)
}

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"b24proxy/proxy/b24sim"
)

// @2bad/bitrix repeats a write whose answer was lost. Without the proxy's guard the
// portal runs it each time, with it once, and the library ends with an error that says
// that the write may have run.
func TestRealClientRepeats(t *testing.T) {
	folder := sdkFolder(t)
	for _, fault := range []string{"reset-after", "html:status=502:after", "truncated"} {
		for setting, want := range map[string]int{"REPEAT_GUARD=0s": 2, "REPEAT_GUARD=60s": 1} {
			t.Run(fault+" with "+setting, func(t *testing.T) {
				t.Parallel()
				sim, url := portal(t, b24sim.Config{Faults: faults(t, "crm.deal.add:"+fault)})
				p := launch(t, "UPSTREAM="+url, setting)
				out, err := exec.CommandContext(t.Context(), "node", filepath.Join(folder, "repeats.mjs"), p.clients+hook, "one").CombinedOutput()
				if err != nil {
					t.Fatalf("node: %v\n%s", err, out)
				}
				ran := sim.Ran("crm.deal.add")
				if isOnce := ran == 1; isOnce != (want == 1) {
					t.Errorf("ran %d times, want once only with the guard: %s", ran, out)
				}
				if held := strings.Contains(string(out), "409"); held != (want == 1) {
					t.Errorf("got %s, want 409 only with the guard", out)
				}
				t.Logf("ran %d times, %s", ran, out)
			})
		}
	}
}

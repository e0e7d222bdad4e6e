package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// -peers has a row for each proxy, and says which are not installed. With b24proxy no
// caller is refused, and no write runs twice.
func TestPeers(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), strings.Fields("-peers -n 5 -for 100ms -plan 1000/50 -json"), &out, io.Discard)
	var reports []peerReport
	if err != nil || json.Unmarshal(out.Bytes(), &reports) != nil || len(reports) != len(peersOf()) {
		t.Fatalf("got %s (%v), want a report for each", out.Bytes(), err)
	}
	for i, name := range []string{"", "nginx", "haproxy"} {
		if _, err := exec.LookPath(name); name != "" && err != nil && reports[i].Skipped != name+" is not installed" {
			t.Errorf("got %+v, want that %s is not installed", reports[i], name)
		}
	}
	ours := reports[len(reports)-1]
	if ours.Skipped == errNoProc.Error() {
		t.Skip(errNoProc)
	}
	if bare := reports[0]; bare.Repeated != peerLost {
		t.Errorf("got %+v, want that all writes ran twice that were repeated", bare)
	}
	if ours.Skipped != "" || ours.Refused > 0 || ours.RanTwice > 0 || ours.Repeated > 0 || ours.UseOfLimit == 0 || ours.PerSecond == 0 || ours.Memory == 0 {
		t.Errorf("got %+v, want a measurement without refusals and doubled writes", ours)
	}
}

// A program that is not installed is skipped, whatever else is.
func TestProgramThatIsNotInstalled(t *testing.T) {
	if _, err := (program{name: "no-such-proxy"}).start(t.Context(), "", options{}, true); err == nil || errors.Is(err, exec.ErrNotFound) || err.Error() != "no-such-proxy is not installed" {
		t.Errorf("got %v, want that it is not installed", err)
	}
}

// The table says why a row is skipped.
func TestPeersTable(t *testing.T) {
	o, err := parse([]string{"-peers"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	printPeers(&out, o, []peerReport{
		{Name: "nginx limit_req", Skipped: "nginx is not installed"},
		{Name: "b24proxy", UseOfLimit: 0.984, QuietP50: 0.4, QuietMost: 0.5, PerSecond: 5000, CPU: 150e-6, Memory: 22 << 20},
	})
	for _, want := range []string{
		"60 greedy callers and a quiet one for 30s",
		"nginx limit_req    nginx is not installed\n",
		"b24proxy                98%        0      400ms      500ms        0      0         0     5000    150µs     22MB\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %s in it", out.String(), want)
		}
	}
}

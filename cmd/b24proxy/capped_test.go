package main

import (
	"bytes"
	"strings"
	"testing"
)

// The start logs the rate in force for each plan whose rate is above its burst,
// and nothing for the others.
func TestRateAboveBurstIsLogged(t *testing.T) {
	s, _, err := readSettings([]string{"B24PROXY_PLAN=50/3", "B24PROXY_PORTAL_PLANS=acme.bitrix24.com=2/1,*.bitrix24.com=2/50"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	warnOfCapped(s.config(newLog(s, &log)))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %q, want two warnings", lines)
	}
	for i, want := range []string{"level=WARN setting=B24PROXY_PLAN plan=50/3 rate=3", `level=WARN setting="B24PROXY_PORTAL_PLANS: acme.bitrix24.com" plan=2/1 rate=1`} {
		for part := range strings.SplitSeq(want, " setting=") {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d: got %q, want %q in it", i, lines[i], part)
			}
		}
	}
}

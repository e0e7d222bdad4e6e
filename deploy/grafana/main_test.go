package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The JSON in the repository is what the Go code beside it writes.
func TestDashboardsAreUpToDate(t *testing.T) {
	for _, d := range []dashboard{overview(), portal()} {
		kept, err := os.ReadFile(filepath.Join("dashboards", d.file()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept, d.encode()) {
			t.Errorf("%s is out of date; run: go generate ./deploy/grafana", d.file())
		}
	}
}

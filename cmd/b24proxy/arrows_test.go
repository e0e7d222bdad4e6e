package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each may import: commands import the proxy
// and what is below it, the proxy imports its parts, and these import nothing.
var arrows = map[string][]string{
	"b24proxy/cmd/b24proxy":   {"limiter", "limiter/redisstore", "limiter/statefile", "proxy", "proxy/access", "proxy/bitrix24", "proxy/certs"},
	"b24proxy/cmd/b24bench":   {"limiter", "proxy", "proxy/b24sim", "proxy/bitrix24"},
	"b24proxy/cmd/b24sim":     {"proxy/b24sim"},
	"b24proxy/proxy":          {"limiter", "limiter/operating", "metrics", "proxy/access", "proxy/bitrix24", "proxy/joining", "proxy/operator", "proxy/replay"},
	"b24proxy/proxy/access":   {},
	"b24proxy/proxy/b24sim":   {"proxy/bitrix24"},
	"b24proxy/proxy/bitrix24": {},
	"b24proxy/proxy/certs":    {},
	"b24proxy/proxy/joining":  {"proxy/bitrix24"},
	"b24proxy/proxy/operator": {"limiter", "limiter/operating", "metrics", "proxy/bitrix24"},
	"b24proxy/proxy/replay":   {},

	"b24proxy/proxy/replay/replaytest": {"proxy/replay"},

	"b24proxy/limiter":            {},
	"b24proxy/limiter/operating":  {"limiter"},
	"b24proxy/limiter/redisstore": {"limiter"},
	"b24proxy/limiter/statefile":  {"limiter"},
	"b24proxy/limiter/storetest":  {"limiter"},
	"b24proxy/metrics":            {},
	"b24proxy/deploy":             {},
	"b24proxy/deploy/grafana":     {"metrics", "proxy/bitrix24"}, // the codes, which get a colour each
}

// kept says which package alone may import a package that is not ours.
var kept = map[string]string{
	"github.com/prometheus/": "b24proxy/metrics",
	"golang.org/x/time/rate": "b24proxy/limiter",
	"github.com/caarlos0/":   "b24proxy/cmd/b24proxy",
	"github.com/redis/":      "b24proxy/limiter/redisstore",
}

// The code imports only in the directions of the design, so one part can be
// read, tested and replaced without the others.
func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "b24proxy/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		importer, imports := fields[0], fields[1:]
		allowed, known := arrows[importer]
		if !known {
			t.Errorf("%s is not in the design; add it to arrows", importer)
		}
		seen++
		for _, imported := range imports {
			if ours, is := strings.CutPrefix(imported, "b24proxy/"); is && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, want only %v", importer, imported, allowed)
			}
			for prefix, owner := range kept {
				if strings.HasPrefix(imported, prefix) && importer != owner {
					t.Errorf("%s imports %s, which only %s may", importer, imported, owner)
				}
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("got %d packages, want %d", seen, len(arrows))
	}
}

// Only commands read the environment, and tests, of which storetest is a part.
func TestEnvironmentIsRead(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{$dir := .Dir}}{{if ne .Name "storetest"}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`, "b24proxy/proxy/...", "b24proxy/limiter/...", "b24proxy/metrics/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-lE", `os\.(Getenv|LookupEnv|Environ)\(`}, strings.Fields(string(out))...)
	if found, _ := exec.Command("grep", args...).Output(); len(found) > 0 {
		t.Errorf("got readers of the environment outside cmd, want none:\n%s", found)
	}
}

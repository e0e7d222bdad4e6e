// Package deploy has tests alone: what is shipped here for Prometheus and
// Grafana speaks of metrics that exist, and its parts know each other.
package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// contract returns the metrics' labels by the names of their series.
func contract(t *testing.T) map[string][]string {
	t.Helper()
	labels := map[string][]string{"up": nil}
	for line := range strings.Lines(read(t, "../metrics/testdata/contract.txt")) {
		fields := strings.Fields(line)
		name, kind := "b24proxy_"+fields[0], fields[1]
		if kind != "histogram" {
			labels[name] = fields[2:]
			continue
		}
		labels[name+"_bucket"] = append(slices.Clone(fields[2:]), "le")
		labels[name+"_sum"] = fields[2:]
		labels[name+"_count"] = fields[2:]
	}
	return labels
}

var (
	seriesName  = regexp.MustCompile(`[a-z_:]*b24proxy_[a-z0-9_:]+`)
	seriesMatch = regexp.MustCompile(`([a-z_:]*b24proxy_[a-z0-9_:]+)\{([^}]*)\}`)
	labelMatch  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"`)
)

// checkExpression tells which series and labels of an expression do not exist.
// Recording rules are known by the names given.
func checkExpression(t *testing.T, where, expr string, rules []string) {
	t.Helper()
	labels := contract(t)
	for _, name := range seriesName.FindAllString(expr, -1) {
		if _, ok := labels[name]; !ok && !slices.Contains(rules, name) {
			t.Errorf("%s: no metric and no recording rule has the name %s", where, name)
		}
	}
	for _, selector := range seriesMatch.FindAllStringSubmatch(expr, -1) {
		name := selector[1]
		known := append([]string{"job", "instance"}, labels[name]...)
		if level, _, recorded := strings.Cut(name, ":"); recorded {
			known = strings.Split(level, "_")
		}
		for _, label := range labelMatch.FindAllStringSubmatch(selector[2], -1) {
			if !slices.Contains(known, label[1]) {
				t.Errorf("%s: %s has no label %s", where, name, label[1])
			}
			// Formats and versions of Prometheus differ in writing 10 or 10.0.
			if label[1] == "le" {
				t.Errorf("%s: %s is selected by the spelling of a bucket's bound", where, name)
			}
		}
	}
}

// The check itself finds what is wrong.
func TestExpressionPatterns(t *testing.T) {
	const expr = `sum by (le) (rate(b24proxy_queue_wait_seconds_bucket{job=~"$job",portal!="x"}[5m])) / job:b24proxy_requests:rate5m`
	names := seriesName.FindAllString(expr, -1)
	want := []string{"b24proxy_queue_wait_seconds_bucket", "job:b24proxy_requests:rate5m"}
	if !slices.Equal(names, want) {
		t.Errorf("found the names %v, want %v", names, want)
	}
	var found []string
	for _, label := range labelMatch.FindAllStringSubmatch(seriesMatch.FindStringSubmatch(expr)[2], -1) {
		found = append(found, label[1])
	}
	if want := []string{"job", "portal"}; !slices.Equal(found, want) {
		t.Errorf("found the labels %v, want %v", found, want)
	}
}

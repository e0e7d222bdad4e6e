// Package deploy has only tests: the files for Prometheus and Grafana use only
// metrics, labels and words that exist, and refer to each other correctly.
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

// contract returns the labels of each series by its name.
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

// checkExpression fails the test for each series and label in an expression that
// does not exist. rules are the names of the recording rules.
func checkExpression(t *testing.T, where, expr string, rules []string) {
	t.Helper()
	labels := contract(t)
	for _, name := range seriesName.FindAllString(expr, -1) {
		if _, ok := labels[name]; !ok && !slices.Contains(rules, name) {
			t.Errorf("%s: got the name %s, want that of a metric or a recording rule", where, name)
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
				t.Errorf("%s: got the label %s of %s, want one of %v", where, label[1], name, known)
			}
			// Some formats and versions of Prometheus write 10, others 10.0.
			if label[1] == "le" {
				t.Errorf("%s: got %s selected by le, want no selection by the spelling of a bound", where, name)
			}
		}
	}
}

// The patterns of the check find names and labels.
func TestExpressionPatterns(t *testing.T) {
	const expr = `sum by (le) (rate(b24proxy_queue_wait_seconds_bucket{job=~"$job",portal!="x"}[5m])) / job:b24proxy_requests:rate5m`
	names := seriesName.FindAllString(expr, -1)
	want := []string{"b24proxy_queue_wait_seconds_bucket", "job:b24proxy_requests:rate5m"}
	if !slices.Equal(names, want) {
		t.Errorf("got the names %v, want %v", names, want)
	}
	var found []string
	for _, label := range labelMatch.FindAllStringSubmatch(seriesMatch.FindStringSubmatch(expr)[2], -1) {
		found = append(found, label[1])
	}
	if want := []string{"job", "portal"}; !slices.Equal(found, want) {
		t.Errorf("got the labels %v, want %v", found, want)
	}
}

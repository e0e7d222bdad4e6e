package deploy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	recordLine = regexp.MustCompile(`(?m)^ +- record: (\S+)$`)
	alertLine  = regexp.MustCompile(`(?m)^ +- alert: (\S+)$`)
)

// recordingRules returns the names of all recording rules.
func recordingRules(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range recordLine.FindAllStringSubmatch(read(t, "prometheus/recording.rules.yml"), -1) {
		names = append(names, match[1])
	}
	return names
}

// alerts returns the text of each alert by name.
func alerts(t *testing.T) map[string]string {
	t.Helper()
	text := read(t, "prometheus/alerts.rules.yml")
	found := make(map[string]string)
	starts := alertLine.FindAllStringSubmatchIndex(text, -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		found[text[at[2]:at[3]]] = text[at[0]:end]
	}
	return found
}

// Rules name only metrics, labels and recording rules that exist. promtool checks
// that they are valid PromQL, and when they fire.
func TestRulesNameWhatExists(t *testing.T) {
	rules := recordingRules(t)
	if len(rules) == 0 || len(alerts(t)) == 0 {
		t.Fatalf("got %d recording rules and %d alerts, want some of each", len(rules), len(alerts(t)))
	}
	for _, file := range []string{"prometheus/recording.rules.yml", "prometheus/alerts.rules.yml"} {
		checkExpression(t, file, read(t, file), rules)
	}
}

// Each alert has what its reader needs, also a section in the runbook, and unit
// tests in which it fires and in which it does not.
func TestAlertsAreExplained(t *testing.T) {
	readme := read(t, "README.md")
	tests := read(t, "prometheus/rules_test.yml") + read(t, "prometheus/availability_test.yml")
	for name, text := range alerts(t) {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"severity: ", "summary: ", "description: "} {
				if !strings.Contains(text, key) {
					t.Errorf("got no %q, want one", key)
				}
			}
			if !strings.Contains(text, "runbook_url: https://runbooks.example.com/b24proxy/README.md#"+strings.ToLower(name)+"\n") {
				t.Error("got no absolute link to its section of the runbook, want one")
			}
			if !dashboardURL.MatchString(text) {
				t.Error("got no absolute link to a dashboard, want one")
			}
			if !strings.Contains(readme, "\n### "+name+"\n") {
				t.Errorf("README.md: got no section %s, want one", name)
			}
			fires, silent := timesTested(tests, name)
			if fires == 0 || silent == 0 {
				t.Errorf("got %d cases in which it fires and %d in which it is silent, want some of each", fires, silent)
			}
		})
	}
}

// dashboardURL leads to the portal's dashboard where the alert has a portal.
var dashboardURL = regexp.MustCompile(`dashboard_url: http://localhost:3000/d/b24proxy-(overview|portal\?var-job=\{\{ \$labels\.job \}\}&var-portal=\{\{ \$labels\.portal \}\}\n)`)

// timesTested counts the cases of promtool's tests in which an alert fires and
// in which it is silent.
func timesTested(tests, alert string) (fires, silent int) {
	lines := strings.Split(tests, "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) != "- alertname: "+alert {
			continue
		}
		if i+2 < len(lines) && strings.Contains(lines[i+2], "exp_alerts:") {
			fires++
		} else {
			silent++
		}
	}
	return fires, silent
}

// The runbook has no section about an alert that does not exist.
func TestRunbookHasNoOrphans(t *testing.T) {
	all := alerts(t)
	var orphans []string
	for _, match := range regexp.MustCompile(`(?m)^### (B24Proxy\S+)$`).FindAllStringSubmatch(read(t, "README.md"), -1) {
		if _, ok := all[match[1]]; !ok {
			orphans = append(orphans, match[1])
		}
	}
	slices.Sort(orphans)
	if len(orphans) > 0 {
		t.Errorf("README.md: got sections about %v, want only alerts that exist", orphans)
	}
}

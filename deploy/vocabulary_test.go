package deploy

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// vocabulary has the words of each label that the program chooses itself.
func vocabulary(t *testing.T) map[string][]string {
	t.Helper()
	words := map[string][]string{
		"outcome": texts(metrics.OK, metrics.PortalError, metrics.MethodError, metrics.Rejected, metrics.Unreachable, metrics.Abandoned),
		"source":  texts(metrics.FromPortal, metrics.FromBatch, metrics.FromNetwork, metrics.FromProxy),
		"reason":  texts(limiter.QueueFull, limiter.QueueWait, limiter.Overload, limiter.OperatingTime, limiter.Draining),
		"priority": {
			metrics.High.String(), metrics.Normal.String(), metrics.Low.String(),
		},
		"status_class": {"2xx", "3xx", "4xx", "5xx", metrics.None},
	}
	for _, e := range bitrix24.SystemErrors() {
		words["code"] = append(words["code"], string(e.Code))
	}
	for _, match := range ownCode.FindAllStringSubmatch(read(t, "../proxy/errors.go"), -1) {
		words["code"] = append(words["code"], match[1])
	}
	for _, none := range []bitrix24.Code{"", "0", "no code of the table"} {
		words["code"] = append(words["code"], bitrix24.Label(none))
	}
	return words
}

// ownCode finds the codes that only the proxy has where they are defined.
var ownCode = regexp.MustCompile(`bitrix24\.Code += "(\w+)"`)

func texts[T ~string](words ...T) []string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = string(word)
	}
	return all
}

// labelValue finds label="value", in JSON with its quotes escaped.
var labelValue = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)\\?"([^"\\]*)\\?"`)

// unknownWords returns the label values in a text that are not words of the
// program, as label=value. A pattern must match a word.
func unknownWords(t *testing.T, text string) (unknown []string) {
	t.Helper()
	words := vocabulary(t)
	for _, match := range labelValue.FindAllStringSubmatch(text, -1) {
		label, value := match[1], match[2]
		if words[label] == nil {
			continue
		}
		for part := range strings.SplitSeq(value, "|") {
			pattern := regexp.MustCompile("^(?:" + part + ")$")
			if !slices.ContainsFunc(words[label], pattern.MatchString) {
				unknown = append(unknown, label+"="+part)
			}
		}
	}
	return unknown
}

// Rules, their tests and dashboards use only words that the program uses.
func TestLabelValuesAreWordsOfTheProgram(t *testing.T) {
	rules, errRules := filepath.Glob("prometheus/*.yml")
	dashboards, errDashboards := filepath.Glob("grafana/dashboards/*.json")
	if len(rules) == 0 || len(dashboards) == 0 || errRules != nil || errDashboards != nil {
		t.Fatalf("got the files %v (%v) and %v (%v), want some of each", rules, errRules, dashboards, errDashboards)
	}
	for _, file := range append(rules, dashboards...) {
		t.Run(file, func(t *testing.T) {
			if unknown := unknownWords(t, read(t, file)); unknown != nil {
				t.Errorf("got %v, want only words of the program", unknown)
			}
		})
	}
}

// The check finds a word that the program does not use, in rules and in JSON.
func TestUnknownWords(t *testing.T) {
	for text, want := range map[string]string{
		`{outcome="ok",reason=~"queue_full|queue_long"}`:           "reason=queue_long",
		`{\"source\": 1} sum(x{source!=\"portals\"})`:              "source=portals",
		`{code=~"QUERY_LIMIT_EXCEEDED|.*RATELIMITEXCEPTION"}`:      "",
		`{code="QUERY_LIMIT",priority="low",portal="any.example"}`: "code=QUERY_LIMIT",
	} {
		if got := strings.Join(unknownWords(t, text), " "); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

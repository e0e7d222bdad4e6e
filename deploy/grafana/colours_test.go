package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// ownCodes returns the codes that only the proxy has, from its table of errors.
func ownCodes(t *testing.T) []bitrix24.Code {
	t.Helper()
	text, err := os.ReadFile("../../proxy/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []bitrix24.Code
	for _, match := range regexp.MustCompile(`bitrix24\.Code += "(\w+)"`).FindAllSubmatch(text, -1) {
		codes = append(codes, bitrix24.Code(match[1]))
	}
	if len(codes) == 0 {
		t.Fatal("got no code from proxy/errors.go, want some")
	}
	return codes
}

// Every code has a colour of its own, so that a graph never shows two codes alike.
func TestEveryCodeHasAColour(t *testing.T) {
	colours := codeColours()
	for _, e := range bitrix24.SystemErrors() {
		if colours[e.Code] == "" {
			t.Errorf("got no colour for %s, want one", e.Code)
		}
	}
	for _, code := range ownCodes(t) {
		if colours[code] == "" {
			t.Errorf("got no colour for %s, want one: add it to proxyCodes", code)
		}
	}
	codes := make(map[string]bitrix24.Code)
	for code, c := range colours {
		if other, taken := codes[c]; taken {
			t.Errorf("got the colour %s for %s and %s, want one each", c, code, other)
		}
		codes[c] = code
	}
}

// A panel whose series are named after codes has a fixed colour for each code that
// it may show, the same on both dashboards.
func TestPanelsColourTheirCodes(t *testing.T) {
	for _, d := range []dashboard{overview(), portal()} {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if !strings.Contains(target.Legend, "{{code}}") {
					continue
				}
				shown := otherCodes()
				if strings.Contains(target.Expr, "failures") {
					shown = failureCodes()
				}
				for _, code := range shown {
					if got, want := p.colourOf(t, "acme.bitrix24.com "+string(code)), codeColours()[code]; got != want {
						t.Errorf("%s/%s: got the colour %q for %s, want %s", d.UID, p.Title, got, code, want)
					}
				}
			}
		}
	}
}

// colourOf returns the colour of the series with this name.
func (p panel) colourOf(t *testing.T, series string) string {
	t.Helper()
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID != "byRegexp" || !regexp.MustCompile(strings.Trim(o.Matcher.Options, "/")).MatchString(series) {
			continue
		}
		return fmt.Sprint(o.Properties[0].Value.(map[string]any)["fixedColor"])
	}
	return ""
}

// Each code is either a failure or for callers to mend, except the refusals of
// portals that the proxy sends again, and the rule of failures has the former.
func TestFailuresAreWhatTheRuleCounts(t *testing.T) {
	shown := append(failureCodes(), otherCodes()...)
	for _, code := range ownCodes(t) {
		if !slices.Contains(shown, code) {
			t.Errorf("got no panel for %s, want one", code)
		}
	}
	rules, err := os.ReadFile("../prometheus/recording.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	counted := slices.DeleteFunc(failureCodes(), func(c bitrix24.Code) bool { return c == bitrix24.CodeQueryLimitExceeded })
	if want := `code=~"` + alternatives(counted) + `"`; !strings.Contains(string(rules), want) {
		t.Errorf("got no %s in the rule of failures, want it", want)
	}
}

// Every outcome has a colour, and those that are errors have one for each class of
// status that they may have.
func TestEveryOutcomeHasAColour(t *testing.T) {
	var named []string
	for _, o := range outcomeColours {
		named = append(named, o.name)
	}
	for _, want := range []string{
		string(metrics.OK), string(metrics.MethodError), string(metrics.Unreachable), string(metrics.Abandoned),
		string(metrics.PortalError) + " 4xx", string(metrics.PortalError) + " 5xx",
		string(metrics.Rejected) + " 4xx", string(metrics.Rejected) + " 5xx",
	} {
		if !slices.Contains(named, want) {
			t.Errorf("got no colour for %s, want one", want)
		}
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents are the papers that people read, from the root of the repository.
var documents = []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md", "proxy/bitrix24/README.md"}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The README's table of settings has the texts that -help prints. Only the
// README marks code with backticks.
func TestReadmeTable(t *testing.T) {
	_, after, _ := strings.Cut(readDocument(t, "README.md"), "\n## Settings\n")
	section, _, _ := strings.Cut(after, "\n## ")
	var got []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") {
			got = append(got, strings.ReplaceAll(strings.TrimSpace(line), "`", ""))
		}
	}
	want := []string{"| setting | default | meaning |", "|---|---|---|"}
	for field := range reflect.TypeFor[settings]().Fields() {
		row := fmt.Sprintf("| %s%s | %s | %s |", prefix, field.Tag.Get("env"), field.Tag.Get("envDefault"), field.Tag.Get("about"))
		want = append(want, strings.ReplaceAll(row, "|  |", "| |"))
	}
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("README.md, ## Settings, line %d of the table: got\n%s\nwant\n%s", i+1, g, w)
		}
	}
}

// Documents and manifests name only settings that exist.
func TestDocumentsNameSettingsThatExist(t *testing.T) {
	manifests, err := filepath.Glob(filepath.Join(root, "deploy/*/*.[yse]*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("got the manifests %v (%v), want some", manifests, err)
	}
	names := slices.Clone(documents)
	for _, path := range append(manifests, filepath.Join(root, "Dockerfile")) {
		name, _ := filepath.Rel(root, path)
		names = append(names, name)
	}
	for _, name := range names {
		for _, variable := range regexp.MustCompile(prefix+`[A-Z_]*[A-Z]`).FindAllString(readDocument(t, name), -1) {
			if !isSetting(strings.TrimPrefix(variable, prefix)) && !slices.Contains(ofTests, variable) {
				t.Errorf("%s names %s, want a setting that exists", name, variable)
			}
		}
	}
}

// ofTests are variables that tests read.
var ofTests = []string{realClient, "B24PROXY_CHROMIUM", "B24PROXY_SCREENSHOTS"}

// Each link in a document leads to a file or a heading that exists.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range documents {
		text := readDocument(t, name)
		for _, match := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			path, heading, _ := strings.Cut(match[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: got a link to %s, want a file that exists", name, match[1])
				continue
			}
			if heading != "" && !slices.Contains(headings(readDocument(t, target)), heading) {
				t.Errorf("%s: got a link to %s, want a heading that exists", name, match[1])
			}
		}
	}
}

// headings returns the headings of a document as links name them.
func headings(text string) (all []string) {
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		link := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(link, " ", "-"))
	}
	return all
}

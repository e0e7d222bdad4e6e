package bitrix24

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A comment that cites a fact leads to a section of README.md that exists.
func TestCitationsLeadToTheFacts(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(readme), -1) {
		sections[strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")] = true
	}
	citation := regexp.MustCompile(`README\.md#([a-z0-9-]+)`)
	found := 0
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, cited := range citation.FindAllStringSubmatch(string(text), -1) {
			found++
			if !sections[cited[1]] {
				t.Errorf("%s cites the section %q, which README.md does not have", path, cited[1])
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("got %d citations and the error %v, want some and none", found, err)
	}
}

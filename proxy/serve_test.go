package proxy

import (
	"slices"
	"testing"
)

// The log lines of start and stop name the upstream without its password, and say when
// there is none.
func TestAboutTheUpstream(t *testing.T) {
	for upstream, want := range map[string]string{"": "none", "https://u:secret@box.example": "https://u:xxxxx@box.example"} {
		about := newProxy(t, func(c *Config) {
			if c.Upstream = nil; upstream != "" {
				c.Upstream = mustURL(upstream)
			}
		}).about()
		if got := about[slices.Index(about, any("upstream"))+1]; got != want {
			t.Errorf("upstream %q: got %q in the log, want %q", upstream, got, want)
		}
	}
}

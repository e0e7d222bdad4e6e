package proxy

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

const defaultUrgency = 3

// urgency returns the member u of the header Priority (RFC 9218), which is a
// dictionary of structured fields. The last u counts. A malformed header is ignored.
func urgency(h http.Header) int {
	if h["Priority"] == nil {
		return defaultUrgency
	}
	priority, err := httpsfv.UnmarshalDictionary(h.Values("Priority"))
	if err != nil {
		return defaultUrgency
	}
	member, _ := priority.Get("u")
	item, _ := member.(httpsfv.Item)
	if u, isInteger := item.Value.(int64); isInteger && u >= 0 && u <= 7 {
		return int(u)
	}
	return defaultUrgency
}

// patience returns how long a call may wait for a slot: the preference wait of the
// header Prefer (RFC 7240), in seconds, if it is shorter than the longest wait. The
// first one counts.
func patience(h http.Header, longest time.Duration) time.Duration {
	n, err := strconv.ParseUint(preference(h, "wait"), 10, 31)
	if err != nil {
		return longest
	}
	return min(time.Duration(n)*time.Second, longest)
}

// preference returns the value of the first preference with this name, "" if there is
// none.
func preference(h http.Header, name string) string {
	for _, line := range h.Values("Prefer") {
		for _, p := range preferences.FindAllString(line, -1) {
			if n, value := parsePreference(p); n == name {
				return value
			}
		}
	}
	return ""
}

// preferences finds the parts of a Prefer header. A comma within a quoted string does
// not separate parts.
var preferences = regexp.MustCompile(`(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|$))+`)

// parsePreference returns the name of a preference in lower case, and its value.
func parsePreference(preference string) (name, value string) {
	preference, _, _ = strings.Cut(preference, ";") // without its parameters
	name, value, _ = strings.Cut(preference, "=")
	value = strings.TrimSpace(value)
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return strings.ToLower(strings.TrimSpace(name)), value
}

// stripPreferences removes the preferences wait and batch from the Prefer headers and
// keeps the others.
func stripPreferences(h http.Header) {
	var kept []string
	for _, line := range h.Values("Prefer") {
		var others []string
		all := preferences.FindAllString(line, -1)
		for _, preference := range all {
			if name, _ := parsePreference(preference); name != "wait" && name != "batch" {
				others = append(others, strings.TrimSpace(preference))
			}
		}
		switch {
		case len(others) == len(all):
			kept = append(kept, line)
		case len(others) > 0:
			kept = append(kept, strings.Join(others, ", "))
		}
	}
	h.Del("Prefer")
	if kept != nil {
		h["Prefer"] = kept
	}
}

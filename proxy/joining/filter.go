package joining

import (
	"regexp"
	"strings"
	"unicode"
)

// mayBeFiltered reports whether the portal's filter of input may change a text. It reads
// the parameters of a command, but not those of a single call in JSON
// (proxy/bitrix24/README.md#batch-of-version-2). It decodes HTML entities, and looks for
// scripts, for words of SQL and for paths that lead upwards. A few harmless texts count as
// dangerous here, since the rules of the filter may change.
func mayBeFiltered(text string) bool {
	if plain.MatchString(text) {
		return false
	}
	lower := strings.ToLower(text)
	return strings.ContainsAny(lower, `<(\`) || hidden.MatchString(lower) || upwards.MatchString(lower) ||
		script.MatchString(withoutSpace(lower)) || sqlPair.MatchString(lower) || sqlWord.MatchString(lower)
}

var (
	plain   = regexp.MustCompile(`^[A-Za-z0-9_.,-]*$`)     // the filter does not look at these
	hidden  = regexp.MustCompile(`&[#a-z]|%[2-7][0-9a-f]`) // letters written in another way
	upwards = regexp.MustCompile(`/\.|\./`)
	script  = regexp.MustCompile(`script|behavior|expression|binding|schemas|data:|\bon[a-z]{3,}=|formaction|seeksegment|fscommand|srcdoc|/\*|\*/`)
	sqlPair = regexp.MustCompile(`(?s)union.+select|select.+from|from.+(?:where|limit)|update.+set|insert.+(?:value|set|select|into)|into.+(?:outfile|dumpfile)|load_file` +
		`|(?:alter|create|drop).+(?:database|table|function|procedure|server|event|view|index)`)
	sqlWord = regexp.MustCompile(`\b(?:union|select|insert|update|delete|drop|alter|create|truncate)\b`)
)

func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

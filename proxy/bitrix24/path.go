package bitrix24

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isPlain reports whether all servers read the segments of a path alike
// (README.md#addresses). Some resolve dots first, some decode first, and they
// disagree about escaped slashes, backslashes, parameters behind a semicolon and
// more. So a segment may contain only characters that need no escape; the user's
// segment may also be a login.
func isPlain(segments []string) bool {
	for i, s := range segments {
		isUser := i > 0 && i == len(segments)-3
		if !isWord(s) && !(isUser && isLogin(s)) {
			return false
		}
	}
	return true
}

func isSlash(r rune) bool { return r == '/' }

// isWord reports whether s consists of unreserved characters (RFC 3986, 2.3), and
// not of dots alone.
func isWord(s string) bool {
	return strings.Trim(s, ".") != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isUnreserved(r) })
}

func isUnreserved(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~", r)
}

// isLogin reports whether a segment is a login whose escapes hide nothing: letters
// of any script, digits, and the other characters of e-mail addresses. A segment
// with an escaped dot or slash is not one, nor is one that is not valid UTF-8.
func isLogin(segment string) bool {
	login, err := url.PathUnescape(segment)
	if err != nil || !utf8.ValidString(login) || strings.Count(login, ".") != strings.Count(segment, ".") || strings.Trim(login, ".") == "" {
		return false
	}
	return !strings.ContainsFunc(login, func(r rune) bool {
		return !isUnreserved(r) && !unicode.IsLetter(r) && !unicode.IsMark(r) && !strings.ContainsRune(" @+", r)
	})
}

// splitPath returns the segments of a path as most servers resolve them.
func splitPath(raw string) []string {
	resolved := path.Clean("/" + unescapePath(raw))
	return strings.FieldsFunc(resolved, isSlash)
}

func unescapePath(raw string) string {
	if decoded, err := url.PathUnescape(raw); err == nil {
		return decoded
	}
	return raw
}

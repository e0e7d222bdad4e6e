package b24sim

import (
	"net/url"
	"strings"
)

// maxVars bounds the variables of one query or form (PHP's max_input_vars). PHP
// drops later ones without an error.
const maxVars = 1000

// parseForm reads a=1&b[c][]=2 as PHP's parse_str does: nested keys become arrays,
// the last of several values stays, and what cannot be decoded stays as it is.
func parseForm(s string) *array {
	a := &array{}
	vars := 0
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		if vars++; vars > maxVars {
			break
		}
		key, value, _ := strings.Cut(part, "=")
		a.insert(unescape(key), unescape(value))
	}
	return a
}

// insert puts value under a PHP variable name such as a[b][]. A name that is nested
// too deeply takes its whole top-level variable with it.
func (a *array) insert(name string, value any) {
	keys, levels := variable(name)
	if len(keys) == 0 {
		return
	}
	if levels > maxDepth {
		a.remove(keys[0])
		return
	}
	last := len(keys) - 1
	for _, key := range keys[:last] {
		inner := a.sub(key)
		if key == "" || inner == nil {
			inner = &array{}
			a.put(key, inner)
		}
		a = inner
	}
	a.put(keys[last], value)
}

// topNames has what PHP does not allow in the name of a variable.
var topNames = strings.NewReplacer(" ", "_", ".", "_", "[", "_")

// variable splits a name into its keys, "" for empty brackets, and counts the opening
// brackets. It returns no keys for a name that PHP ignores. PHP makes the bracket of a
// top-level name that has no end an underscore, and ignores a nested one.
func variable(name string) (keys []string, levels int) {
	name, _, _ = strings.Cut(name, "\x00")
	name = strings.TrimLeft(name, " ")
	top, rest, nested := strings.Cut(name, "[")
	if top == "" {
		return nil, 0
	}
	for nested {
		levels++
		key, after, closed := cutKey(rest)
		if !closed && levels == 1 {
			top = name
		}
		if !closed {
			break
		}
		keys = append(keys, key)
		rest, nested = strings.CutPrefix(after, "[")
	}
	return append([]string{topNames.Replace(top)}, keys...), levels
}

// cutKey cuts s at the closing bracket. A key of one blank is the same as none.
func cutKey(s string) (key, rest string, closed bool) {
	blank := 0
	if s != "" && strings.IndexByte(" \t\n\v\f\r", s[0]) >= 0 {
		blank = 1
	}
	length := strings.IndexByte(s[blank:], ']')
	if length < 0 {
		return "", "", false
	}
	end := blank + length
	if length == 0 {
		return "", s[end+1:], true
	}
	return s[:end], s[end+1:], true
}

// put sets key, or appends if PHP's name had empty brackets.
func (a *array) put(key string, value any) {
	if key == "" {
		a.push(value)
		return
	}
	a.set(key, value)
}

// unescape decodes %XX and + and leaves a broken escape as it is.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if u, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(u)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

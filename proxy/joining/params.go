package joining

import (
	"mime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of PHP, with room to spare: it drops parameters above 1000 and values that are
// deeper than 64 levels, and says nothing (proxy/bitrix24/README.md#batch-of-version-2).
const (
	maxLeaves = 500
	maxDepth  = 32
)

// params are the parameters of a call, as they stand in a command.
type params struct {
	encoded []string // name=value, in their order
	tokens  []token
	names   []string // at the top level, of the query and then of the body
}

// A token is a parameter that carries the credential.
type token struct {
	inBody           bool
	name, value, raw string // raw is name=value as in the query
}

// parameters reads the parameters of a request, those of the query first, as the portal
// does.
func parameters(r Request) (params, Reason) {
	var p params
	if strings.Contains(r.Query, "#") { // some servers cut it off there
		return p, Text
	}
	if reason := p.addForm(r.Query, false); reason != "" {
		return p, reason
	}
	ofQuery := p.names
	p.names = nil
	if reason := p.addBody(r); reason != "" {
		return p, reason
	}
	switch {
	case slices.ContainsFunc(p.names, func(name string) bool { return containsFold(ofQuery, name) }):
		return p, Overlap
	case len(p.encoded) >= maxLeaves:
		return p, Size
	}
	return p, ""
}

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(name, other) })
}

func (p *params) addBody(r Request) Reason {
	if len(r.Body) == 0 {
		return ""
	}
	if len(r.Header["Content-Type"]) > 1 {
		return Body
	}
	mediaType, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := options["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Body
	}
	switch mediaType {
	case "application/json":
		return p.addJSON(r.Body)
	case "application/x-www-form-urlencoded":
		return p.addForm(string(r.Body), true)
	}
	return Body
}

// reserved are parameters that mean something to the portal itself, or that it sets or
// removes in a single call and not in a command
// (proxy/bitrix24/README.md#batch-of-version-2).
var reserved = []string{
	"token", "state", "method", "auth", "access_token", "ap", "aplogin", "auth_connector", "sessid", "cmd", "halt",
}

// topName notes the name of a parameter at the top level, or says why the call goes
// alone: a single call and a command read some names differently.
func (p *params) topName(name string) Reason {
	if reason := isKey(name); reason != "" {
		return reason
	}
	if containsFold(reserved, name) || strings.ContainsAny(name, ". ") || isNumeric(name) {
		return Name
	}
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
	return ""
}

// isKey says why a call with this key is sent alone; "" if it does not.
func isKey(key string) Reason {
	switch {
	case strings.TrimSpace(key) == "", strings.ContainsAny(key, "[]"):
		return Name
	case !isText(key):
		return Text
	}
	return ""
}

func isNumeric(name string) bool {
	digits := strings.TrimLeft(name, "+-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// isText reports whether a text is the same within a batch: it is valid, PHP's parse_url
// replaces control characters, and the portal replaces $result[…] and the like by earlier
// results, after decoding, so that nothing escapes a dollar sign
// (proxy/bitrix24/README.md#batch-of-version-2).
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '$' || r == utf8.RuneError }) < 0
}

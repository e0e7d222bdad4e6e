package b24sim

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// substitution replaces $result[a][ID] in the parameters of a command with what the
// earlier commands answered. It runs after decoding, so no caller can escape a $.
type substitution struct {
	answers *array // by field (result, next, total, ...), then by the key of the command
	names   *regexp.Regexp
}

// newSubstitution makes one for the next command. Its names are the fields that the
// answers have so far, so their list grows with the fields of each error.
func newSubstitution(answers *array) substitution {
	var names []string
	for _, name := range answers.keys {
		names = append(names, regexp.QuoteMeta(name))
	}
	return substitution{answers, regexp.MustCompile(`(?i)\$(` + strings.Join(names, "|") + `)([^\t\n\v\f\r ]*)`)}
}

// apply returns params with the values replaced, but not the keys.
func (s substitution) apply(params *array) *array {
	out := &array{}
	for _, key := range params.keys {
		value := params.values[key]
		switch v := value.(type) {
		case *array:
			value = s.apply(v)
		case string:
			value = s.replace(v)
		}
		out.set(key, value)
	}
	return out
}

// replace returns what text becomes: any value if text is one reference and nothing
// else, otherwise a text in which texts and numbers are filled in.
func (s substitution) replace(text string) any {
	for _, reference := range s.names.FindAllStringSubmatch(text, -1) {
		whole, name, tail := reference[0], reference[1], reference[2]
		value, ok := s.follow(name, tail)
		if !ok {
			continue
		}
		if whole == text {
			return value
		}
		if filled, ok := plain(value); ok {
			text = strings.ReplaceAll(text, whole, filled)
		}
	}
	return text
}

var brackets = regexp.MustCompile(`\[([^\]]+)\]`)

// follow returns what is found by the keys in the tail of a reference: where one
// leads nowhere, whatever was reached. It reports whether there are any keys. The name
// is found in any case, but its answers only in lower case.
func (s substitution) follow(name, tail string) (any, bool) {
	keys := brackets.FindAllStringSubmatch(tail, -1)
	value, _ := s.answers.get(name)
	for _, key := range keys {
		next := element(value, key[1])
		if next == nil {
			break
		}
		value = next
	}
	return value, len(keys) > 0
}

// element is PHP's $value[$key], nil if that is not set: texts have their bytes as
// elements.
func element(value any, key string) any {
	switch v := value.(type) {
	case *array:
		found, _ := v.get(key)
		return found
	case string:
		n, ok := numeric(key)
		if n < 0 {
			n += int64(len(v))
		}
		if ok && n >= 0 && n < int64(len(v)) {
			return v[n : n+1]
		}
	}
	return nil
}

// plain is the text of a value that can be filled into another text.
func plain(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case int:
		return strconv.Itoa(v), true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

package joining

import (
	"net/url"
	"strings"
)

// addForm adds the parameters of a query or a form, byte for byte. PHP reads them in a
// single call as it reads those of a command, so only what the address of a command
// cannot hold is encoded.
func (p *params) addForm(form string, inBody bool) Reason {
	for part := range strings.SplitSeq(form, "&") {
		if part == "" {
			continue
		}
		if reason := p.addPart(part, inBody); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *params) addPart(part string, inBody bool) Reason {
	rawName, rawValue, _ := strings.Cut(part, "=")
	name, err1 := url.QueryUnescape(rawName)
	value, err2 := url.QueryUnescape(rawValue)
	switch {
	case err1 != nil || err2 != nil || !isText(value):
		return Text
	case value == "":
		return Value
	case isToken(name):
		p.tokens = append(p.tokens, token{inBody: inBody, name: name, value: value, raw: part})
		return ""
	}
	if reason := p.addName(name); reason != "" {
		return reason
	}
	p.encoded = append(p.encoded, inQuery(part))
	return ""
}

func isToken(name string) bool { return name == "auth" || name == "access_token" }

// addName examines a decoded name such as filter[ID][].
func (p *params) addName(name string) Reason {
	top, keys, nested := strings.Cut(name, "[")
	if reason := p.topName(top); reason != "" || !nested {
		return reason
	}
	keys, closed := strings.CutSuffix(keys, "]")
	all := strings.Split(keys, "][")
	switch {
	case !closed:
		return Name
	case len(all) >= maxDepth:
		return Size
	}
	for _, key := range all {
		if reason := isKey(key); reason != "" && key != "" { // an empty one appends to a list
			return reason
		}
	}
	return ""
}

// inQuery encodes the bytes that a query cannot hold. Brackets stay, since PHP reads them
// in both forms.
func inQuery(part string) string {
	var b strings.Builder
	for i := range len(part) {
		if c := part[i]; isUnreserved(c) || strings.IndexByte("!$&'()*+,;=:@/?%[]", c) >= 0 {
			b.WriteByte(c)
		} else {
			writeEscaped(&b, c)
		}
	}
	return b.String()
}

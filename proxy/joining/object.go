package joining

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// addJSON adds the parameters of a JSON object. A command has only texts, so it cannot
// hold null, booleans, floats and empty containers.
func (p *params) addJSON(body []byte) Reason {
	o := object{params: p, decoder: json.NewDecoder(bytes.NewReader(body))}
	o.decoder.UseNumber()
	if open, err := o.decoder.Token(); err != nil || open != json.Delim('{') || !utf8.Valid(body) {
		return Body
	}
	if reason := o.members("", 0); reason != "" {
		return reason
	}
	if _, err := o.decoder.Token(); err != io.EOF { // something follows the object
		return Body
	}
	return ""
}

// An object is a JSON object on its way into a query.
type object struct {
	params  *params
	decoder *json.Decoder
}

// members reads the rest of an object. prefix is its encoded name, "" at the top level.
func (o *object) members(prefix string, depth int) Reason {
	seen := make(map[string]bool)
	for o.decoder.More() {
		name, err := o.decoder.Token()
		if err != nil {
			return Body
		}
		key := name.(string)
		if seen[key] {
			return Name
		}
		seen[key] = true
		if reason := o.member(prefix, key, depth); reason != "" {
			return reason
		}
	}
	return o.end()
}

func (o *object) member(prefix, key string, depth int) Reason {
	examine, name := isKey, prefix+"["+escaped(key)+"]"
	if depth == 0 {
		if isToken(key) {
			return o.token(key)
		}
		examine, name = o.params.topName, escaped(key)
	}
	if reason := examine(key); reason != "" {
		return reason
	}
	if mayBeFiltered(key) {
		return Text
	}
	return o.value(name, depth)
}

// elements reads the rest of a list.
func (o *object) elements(prefix string, depth int) Reason {
	for i := 0; o.decoder.More(); i++ {
		if reason := o.value(prefix+"["+strconv.Itoa(i)+"]", depth); reason != "" {
			return reason
		}
	}
	return o.end()
}

func (o *object) end() Reason {
	if _, err := o.decoder.Token(); err != nil {
		return Body
	}
	return ""
}

// token reads the credential.
func (o *object) token(name string) Reason {
	value, err := o.decoder.Token()
	text, isString := value.(string)
	switch {
	case err != nil:
		return Body
	case !isString || text == "" || !isText(text):
		return Credential
	}
	o.params.tokens = append(o.params.tokens, token{inBody: true, name: name, value: text})
	return ""
}

// integer matches what JSON and a query write alike, and PHP reads as an integer.
var integer = regexp.MustCompile(`^(?:0|-?[1-9][0-9]{0,17})$`)

// value reads the value of a parameter, whose encoded name is given.
func (o *object) value(name string, depth int) Reason {
	token, err := o.decoder.Token()
	switch v := token.(type) {
	case json.Delim:
		return o.container(v, name, depth+1)
	case json.Number:
		if !integer.MatchString(v.String()) {
			return Value
		}
		return o.leaf(name, v.String())
	case string:
		return o.leaf(name, v)
	}
	if err != nil {
		return Body
	}
	return Value
}

func (o *object) container(open json.Delim, name string, depth int) Reason {
	switch {
	case depth >= maxDepth:
		return Size
	case !o.decoder.More():
		return Value
	case open == '{':
		return o.members(name, depth)
	}
	return o.elements(name, depth)
}

func (o *object) leaf(name, text string) Reason {
	switch {
	case text == "":
		return Value
	case !isText(text) || mayBeFiltered(text):
		return Text
	case len(o.params.encoded) >= maxLeaves:
		return Size
	}
	o.params.encoded = append(o.params.encoded, name+"="+escaped(text))
	return ""
}

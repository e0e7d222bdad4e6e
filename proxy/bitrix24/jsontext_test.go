package bitrix24

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// FuzzJSON holds for any text: it is valid here if it is for encoding/json, and has the
// same members and elements, also where it is cut off.
func FuzzJSON(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.body)
		f.Add(s.body[:len(s.body)/2])
	}
	for _, text := range oddTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { sameAsEncodingJSON(t, text) })
}

func sameAsEncodingJSON(t *testing.T, text []byte) {
	t.Helper()
	ignore := func(string, json.RawMessage) {}
	if got, want := wholeText(text, ignore), json.Valid(text); got != want {
		t.Errorf("%.100q: got valid %v, want %v as encoding/json finds", text, got, want)
	}
	var got, want []string
	for name, value := range members(text) {
		got = append(got, name+" "+string(value))
	}
	for name, value := range tokens(text, json.Delim('{')) {
		want = append(want, name+" "+value)
	}
	for name, value := range elements(text) {
		got = append(got, name+" "+string(value))
	}
	list := json.Delim('{')
	if bytes.HasPrefix(trimStart(text), []byte("[")) {
		list = '['
	}
	for name, value := range tokens(text, list) {
		want = append(want, name+" "+value)
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%.100q: got %.200q, want %.200q as encoding/json reads", text, got, want)
	}
}

// tokens yields the members of an object or the elements of a list, as the Decoder of
// encoding/json reads them one by one.
func tokens(text []byte, kind json.Delim) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		d := json.NewDecoder(bytes.NewReader(trimStart(text)))
		if open, err := d.Token(); err != nil || open != kind {
			return
		}
		for i := 0; d.More(); i++ {
			name := strconv.Itoa(i)
			if kind == '{' {
				token, err := d.Token()
				var isName bool
				if name, isName = token.(string); err != nil || !isName {
					return
				}
			}
			var raw json.RawMessage
			if d.Decode(&raw) != nil || !yield(name, string(raw)) {
				return
			}
		}
	}
}

// oddTexts are JSON at its edges, and what is close to JSON.
var oddTexts = []string{
	``, ` `, `{}`, `[]`, ` { } `, ` [ ] `, `null`, `nul`, `nulll`, `true`, `falsee`, `"a"`, `"a`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5e`, `1e+`, `1E-07`, `1e5.5`, `+1`,
	`{"a":1}`, `{"a":1,}`, `{"a":1 "b":2}`, `{,"a":1}`, `{"a"}`, `{"a":}`, `{a:1}`, `{1:1}`, `{"a":1]`, `{"a":1}}`, `{"a":12`, `{"a":tru`, `{"a":01}`, `{"a":1.x`, `{"a":1x`,
	`[1,]`, `[,1]`, `[1 2]`, `[1`, `[01]`, `[1}`, `[[[]]`, `{"a":[1,{"b":2}],"c":"d"}`, "{\"a\"\t:\r\n1\n,\"b\" : 2 }",
	`{"\u0061":"\n\/\\\"\u00e9"}`, `{"\ud834\udd1e":1}`, `{"\ud834":1}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u123`, `{"a":"\`, "{\"a\":\"\x01\"}", "{\"a\":\"\x7f\"}",
	"{\"\xff\":1}", "{\"a\":\"\xff\"}", "{\"\u00e9\":1}", "\xef\xbb\xbf{\"a\":1}", "{\"a\":1}\x00", "{\"a\":\x00}", "{\"a\":1,\"a\":2}", `{"":1}`,
}

// Texts at the edges of JSON are read as encoding/json reads them.
func TestOddTexts(t *testing.T) {
	for _, text := range oddTexts {
		sameAsEncodingJSON(t, []byte(text))
	}
}

// Nesting is followed as deep as encoding/json follows it, and no deeper.
func TestNesting(t *testing.T) {
	for _, depth := range []int{1, maxDepth - 1, maxDepth, maxDepth + 1} {
		for _, c := range []struct{ open, inside, close string }{{"[", "1", "]"}, {`{"a":`, "1", "}"}} {
			text := strings.Repeat(c.open, depth) + c.inside + strings.Repeat(c.close, depth)
			sameAsEncodingJSON(t, []byte(text))
		}
	}
}

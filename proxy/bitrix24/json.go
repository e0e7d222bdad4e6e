package bitrix24

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
)

// byteOrderMark stands before the JSON of some portals [R].
var byteOrderMark = []byte("\xef\xbb\xbf")

// trimStart removes white space and byte-order marks, of which each file that PHP
// includes may have sent one.
func trimStart(b []byte) []byte {
	for {
		trimmed := bytes.TrimPrefix(bytes.TrimLeft(b, " \t\r\n"), byteOrderMark)
		if len(trimmed) == len(b) {
			return b
		}
		b = trimmed
	}
}

// trimEnd is trimStart at the other end.
func trimEnd(b []byte) []byte {
	for {
		trimmed := bytes.TrimSuffix(bytes.TrimRight(b, " \t\r\n"), byteOrderMark)
		if len(trimmed) == len(b) {
			return b
		}
		b = trimmed
	}
}

// members yields the names and raw values at the top level of a JSON object,
// in their order. It stops without a word where b is no object or is cut off;
// whole values before that have been yielded.
func members(b []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		d := json.NewDecoder(bytes.NewReader(trimStart(b)))
		if open, err := d.Token(); err != nil || open != json.Delim('{') {
			return
		}
		for d.More() {
			token, err := d.Token()
			name, isName := token.(string)
			var raw json.RawMessage
			if err != nil || !isName || d.Decode(&raw) != nil || !yield(name, raw) {
				return
			}
		}
	}
}

// elements yields the values of a JSON object by name or of a JSON list by
// position: PHP writes an array as either, by what its keys happen to be. Like
// members it stops where the text is cut off.
func elements(b []byte) iter.Seq2[string, json.RawMessage] {
	if !bytes.HasPrefix(trimStart(b), []byte("[")) {
		return members(b)
	}
	return func(yield func(string, json.RawMessage) bool) {
		d := json.NewDecoder(bytes.NewReader(trimStart(b)))
		_, _ = d.Token()
		for i := 0; d.More(); i++ {
			var raw json.RawMessage
			if d.Decode(&raw) != nil || !yield(strconv.Itoa(i), raw) {
				return
			}
		}
	}
}

// textOf returns a string's content, a number or a boolean as it is written,
// and "" for everything else.
func textOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		var s string
		_ = json.Unmarshal(raw, &s) // valid already, and "" if not
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}

// encode writes a string or a flat struct as JSON, without the escapes that
// only HTML needs.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // these always encode
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

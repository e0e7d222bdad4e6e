package bitrix24

import (
	"bytes"
	"encoding/json"
	"iter"
)

// byteOrderMark precedes the JSON of some portals (README.md#answers).
var byteOrderMark = []byte("\xef\xbb\xbf")

// trimStart removes white space and byte-order marks. There may be several: each
// file that PHP includes may send one.
func trimStart(b []byte) []byte {
	for {
		trimmed := bytes.TrimPrefix(bytes.TrimLeft(b, " \t\r\n"), byteOrderMark)
		if len(trimmed) == len(b) {
			return b
		}
		b = trimmed
	}
}

// trimEnd does at the end what trimStart does at the start.
func trimEnd(b []byte) []byte {
	for {
		trimmed := bytes.TrimSuffix(bytes.TrimRight(b, " \t\r\n"), byteOrderMark)
		if len(trimmed) == len(b) {
			return b
		}
		b = trimmed
	}
}

// members yields the names and raw values at the top level of a JSON object, in
// their order. If b is cut off, it yields the whole values before that; if b is
// not an object, it yields nothing. The values are parts of b.
func members(b []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		t := jsonText{text: trimStart(b)}
		t.members(0, yield)
	}
}

// elements yields the values of a JSON object with their names, or of a JSON list
// with their positions: PHP writes an array as the one or the other, depending on
// its keys (README.md#batch-of-version-2). It treats text that is cut off as
// members does.
func elements(b []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		t := jsonText{text: trimStart(b)}
		if t.next() == '[' {
			t.elements(yield)
		} else {
			t.members(0, yield)
		}
	}
}

// wholeText calls yield for the members of a JSON object, and reports whether the text
// is valid JSON, of whatever kind. It is not before the end that this is known.
func wholeText(text []byte, yield func(name string, value json.RawMessage)) bool {
	t := jsonText{text: text}
	var ok bool
	if t.next() == '{' {
		ok = t.members(1, func(name string, value json.RawMessage) bool { yield(name, value); return true })
	} else {
		ok = t.skipValue(0)
	}
	t.next()
	return ok && t.at == len(text)
}

// textOf returns the content of a string, a number or a boolean as it is written,
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

// encode writes a string or a flat struct as JSON, without the escapes that only
// HTML needs.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // never fails for a string or a flat struct
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

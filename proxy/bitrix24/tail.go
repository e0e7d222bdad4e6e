package bitrix24

import (
	"bytes"
	"encoding/json"
	"slices"
)

// tail keeps the last tailLimit bytes of what is written to it. It copies no more
// than that from each write, so long answers cost no more than short ones.
type tail []byte

func (t *tail) write(p []byte) {
	*t = append(*t, lastBytes(p)...)
	*t = append((*t)[:0], lastBytes(*t)...)
}

func lastBytes(b []byte) []byte { return b[max(0, len(b)-tailLimit):] }

// timeAtEnd reads the member time of a JSON object of which only the end is known.
// It goes backwards from the closing brace over the last members, and gives up at
// result or at anything unclear: a string in the answer that looks like a time must
// not be read as one.
//
// Going backwards is safe because it begins outside of any string. In JSON a
// quotation mark inside a string has an odd number of backslashes before it, and
// one that begins or ends a string has none.
func timeAtEnd(text []byte) Time {
	rest, ok := bytes.CutSuffix(text, []byte("}"))
	for ok {
		var name string
		var value []byte
		if name, value, rest, ok = lastMember(rest); !ok || name == "result" {
			break
		}
		if name == "time" {
			return timeOf(value)
		}
		rest, ok = bytes.CutSuffix(rest, []byte(","))
	}
	return Time{}
}

// lastMember splits the last "name": value off text; rest is what precedes it.
func lastMember(text []byte) (name string, value, rest []byte, ok bool) {
	text = trimEnd(text)
	start := valueStart(text)
	value = text[start:]
	text, ok = bytes.CutSuffix(trimEnd(text[:start]), []byte(":"))
	text = trimEnd(text)
	start = stringStart(text)
	if !ok || !json.Valid(value) || json.Unmarshal(text[start:], &name) != nil {
		return "", nil, nil, false
	}
	return name, value, trimEnd(text[:start]), true
}

// valueStart returns where the JSON value at the end of text begins. It and the two
// functions below also return 0 if the beginning of the value is not in text:
// either way text does not contain the value's name.
func valueStart(text []byte) int {
	switch {
	case bytes.HasSuffix(text, []byte(`"`)):
		return stringStart(text)
	case bytes.HasSuffix(text, []byte("}")), bytes.HasSuffix(text, []byte("]")):
		return containerStart(text)
	}
	return bytes.LastIndexAny(text, " \t\r\n:,[{\"") + 1
}

// containerStart returns where the object or list at the end of text begins.
func containerStart(text []byte) int {
	depth := 0
	for len(text) > 0 {
		last := len(text) - 1
		switch text[last] {
		case '}', ']':
			depth++
		case '{', '[':
			if depth--; depth == 0 {
				return last
			}
		case '"':
			last = stringStart(text)
		}
		text = text[:last]
	}
	return 0
}

// stringStart returns where the string at the end of text begins.
func stringStart(text []byte) int {
	inside := bytes.TrimSuffix(text, []byte(`"`))
	for i, b := range slices.Backward(inside) {
		if b == '"' && !oddBackslashes(inside[:i]) {
			return i
		}
	}
	return 0
}

// oddBackslashes reports whether b ends in an odd number of backslashes, so that
// the next byte is escaped.
func oddBackslashes(b []byte) bool {
	backslashes := b[len(bytes.TrimRight(b, `\`)):]
	return len(backslashes)%2 == 1
}

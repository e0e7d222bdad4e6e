package bitrix24

import (
	"bytes"
	"encoding/json"
)

// tail keeps the last tailLimit bytes of what is written to it. It copies no
// more than these of each write, so its price does not grow with the answer.
type tail struct {
	buf []byte // at most twice tailLimit
}

func (t *tail) write(p []byte) {
	if len(p) >= tailLimit {
		t.buf = append(t.buf[:0], p[len(p)-tailLimit:]...)
		return
	}
	if len(t.buf)+len(p) > 2*tailLimit {
		t.buf = append(t.buf[:0], t.bytes()...)
	}
	t.buf = append(t.buf, p...)
}

func (t *tail) bytes() []byte { return t.buf[max(0, len(t.buf)-tailLimit):] }

// timeAtEnd reads the time key of a JSON object of which only the end is
// there. It steps backwards from the closing brace over the last members, and
// gives up where it meets result or anything unclear: a string in the answer
// that looks like a time must not be taken for one.
//
// Stepping backwards is safe because it begins outside of any string: in JSON
// a quotation mark inside a string has an odd number of backslashes before it,
// and one that delimits has none.
func timeAtEnd(text []byte) Time {
	rest, ok := bytes.CutSuffix(text, []byte("}"))
	for ok {
		var name string
		var value []byte
		if name, value, rest, ok = lastMember(rest); !ok || name == "result" {
			break
		}
		if name == "time" && json.Valid(value) {
			return timeOf(value)
		}
		rest, ok = bytes.CutSuffix(rest, []byte(","))
	}
	return Time{}
}

// lastMember splits the last "name": value off text; rest is what stands
// before it.
func lastMember(text []byte) (name string, value, rest []byte, ok bool) {
	text = trimEnd(text)
	start := valueStart(text)
	if start < 0 {
		return "", nil, nil, false
	}
	value = text[start:]
	text, ok = bytes.CutSuffix(trimEnd(text[:start]), []byte(":"))
	text = trimEnd(text)
	start = stringStart(text)
	if !ok || start < 0 || json.Unmarshal(text[start:], &name) != nil {
		return "", nil, nil, false
	}
	return name, value, trimEnd(text[:start]), true
}

func trimEnd(b []byte) []byte { return bytes.TrimRight(b, " \t\r\n") }

// valueStart returns where the JSON value at the end of text begins, or -1.
func valueStart(text []byte) int {
	if len(text) == 0 {
		return -1
	}
	switch text[len(text)-1] {
	case '"':
		return stringStart(text)
	case '}', ']':
		return containerStart(text)
	}
	start := bytes.LastIndexAny(text, " \t\r\n:,[{\"") + 1
	if start == len(text) {
		return -1
	}
	return start
}

// containerStart returns where the object or list at the end of text begins.
func containerStart(text []byte) int {
	for depth, i := 0, len(text)-1; i >= 0; i-- {
		switch text[i] {
		case '}', ']':
			depth++
		case '{', '[':
			if depth--; depth == 0 {
				return i
			}
		case '"':
			if i = stringStart(text[:i+1]); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// stringStart returns where the string at the end of text begins.
func stringStart(text []byte) int {
	if !bytes.HasSuffix(text, []byte(`"`)) {
		return -1
	}
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] == '"' && !oddBackslashes(text[:i]) {
			return i
		}
	}
	return -1
}

// oddBackslashes tells whether b ends in an odd number of backslashes, so that
// what follows is escaped.
func oddBackslashes(b []byte) bool {
	n := len(b) - len(bytes.TrimRight(b, `\`))
	return n%2 == 1
}

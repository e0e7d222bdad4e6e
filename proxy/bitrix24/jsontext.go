package bitrix24

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A jsonText reads JSON once, from the start to the end, and keeps nothing of it but
// where it is. It accepts what encoding/json accepts, which FuzzJSON holds, and takes
// a tenth of its time: every answer of a portal passes here.
//
// Its methods report whether they found what they were to read. After one that did
// not, only the position of the failure is known.
type jsonText struct {
	text []byte
	at   int
}

// maxDepth is how deep encoding/json lets objects and lists be nested.
const maxDepth = 10_000

// next skips white space and returns the byte behind it, 0 at the end. PHP writes none.
func (t *jsonText) next() byte {
	if t.at < len(t.text) && t.text[t.at] > ' ' {
		return t.text[t.at]
	}
	return t.nextBehindSpace()
}

func (t *jsonText) nextBehindSpace() byte {
	for ; t.at < len(t.text); t.at++ {
		switch b := t.text[t.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// take skips white space and one byte, which must be the given one.
func (t *jsonText) take(b byte) bool {
	if t.next() != b {
		return false
	}
	t.at++
	return true
}

// members reads an object that is in so many others, itself included.
func (t *jsonText) members(depth int, yield func(string, json.RawMessage) bool) bool {
	if !t.take('{') {
		return false
	}
	if t.take('}') {
		return true
	}
	for {
		name, ok := t.name()
		if !ok || !t.take(':') {
			return false
		}
		value, ok := t.value(depth)
		if !ok || !yield(name, value) {
			return false
		}
		if !t.take(',') {
			return t.take('}')
		}
	}
}

// elements reads a list, and yields each value with its position.
func (t *jsonText) elements(yield func(string, json.RawMessage) bool) {
	if !t.take('[') || t.take(']') {
		return
	}
	for i := 0; ; i++ {
		value, ok := t.value(0)
		if !ok || !yield(strconv.Itoa(i), value) || !t.take(',') {
			return
		}
	}
}

// name reads the name of a member.
func (t *jsonText) name() (name string, ok bool) {
	t.next()
	from := t.at
	if !t.skipString() {
		return "", false
	}
	raw := t.text[from:t.at]
	for _, b := range raw {
		if b == '\\' || b >= utf8.RuneSelf {
			return decodeString(raw)
		}
	}
	raw = raw[1 : len(raw)-1]
	if name, isUsual := usualNames[string(raw)]; isUsual {
		return name, true
	}
	return string(raw), true
}

// usualNames are the names in most answers, so that they are not made anew each time.
var usualNames = func() map[string]string {
	usual := make(map[string]string)
	for _, name := range []string{
		"result", "error", "error_description", "total", "next", "time",
		"start", "finish", "duration", "processing", "date_start", "date_finish", "operating_reset_at", "operating",
	} {
		usual[name] = name
	}
	return usual
}()

func decodeString(raw []byte) (decoded string, ok bool) {
	err := json.Unmarshal(raw, &decoded)
	return decoded, err == nil
}

// value reads any value, as it is written.
func (t *jsonText) value(depth int) (raw json.RawMessage, ok bool) {
	t.next()
	from := t.at
	if !t.skipValue(depth) {
		return nil, false
	}
	return t.text[from:t.at:t.at], true
}

func (t *jsonText) skipValue(depth int) bool {
	switch t.next() {
	case '{':
		return t.skipObject(depth + 1)
	case '[':
		return t.skipList(depth + 1)
	case '"':
		return t.skipString()
	case 't':
		return t.skipWord("true")
	case 'f':
		return t.skipWord("false")
	case 'n':
		return t.skipWord("null")
	}
	return t.skipNumber()
}

func (t *jsonText) skipObject(depth int) bool {
	t.at++
	if depth > maxDepth {
		return false
	}
	if t.take('}') {
		return true
	}
	for {
		if t.next(); !t.skipString() || !t.take(':') || !t.skipValue(depth) {
			return false
		}
		if !t.take(',') {
			return t.take('}')
		}
	}
}

func (t *jsonText) skipList(depth int) bool {
	t.at++
	if depth > maxDepth {
		return false
	}
	if t.take(']') {
		return true
	}
	for {
		if !t.skipValue(depth) {
			return false
		}
		if !t.take(',') {
			return t.take(']')
		}
	}
}

func (t *jsonText) skipWord(word string) bool {
	end := t.at + len(word)
	if end > len(t.text) || string(t.text[t.at:end]) != word {
		return false
	}
	t.at = end
	return true
}

// inString are the bytes that may be in a string as they are.
var inString = func() (may [256]bool) {
	for b := range may {
		may[b] = b >= ' ' && b != '"' && b != '\\'
	}
	return may
}()

func (t *jsonText) skipString() bool {
	if t.at == len(t.text) || t.text[t.at] != '"' {
		return false
	}
	for i := t.at + 1; i < len(t.text); i++ {
		switch b := t.text[i]; {
		case inString[b]:
		case b == '"':
			t.at = i + 1
			return true
		case b != '\\':
			return false
		default:
			n := escapeLength(t.text[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		}
	}
	return false
}

// escapeLength is the length of the escape at the start of a text, 0 if it is none.
func escapeLength(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		const length = len(`\u0000`)
		for i := 2; i < length; i++ {
			if i == len(text) || !isHex(text[i]) {
				return 0
			}
		}
		return length
	}
	return 0
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// skipNumber reads a number, which ends before the first byte that cannot be a part
// of it.
func (t *jsonText) skipNumber() bool {
	t.skipByte("-")
	if !t.skipByte("0") && !t.skipDigits() {
		return false
	}
	if t.skipByte(".") && !t.skipDigits() {
		return false
	}
	if t.skipByte("eE") {
		t.skipByte("+-")
		return t.skipDigits()
	}
	return true
}

// skipByte skips one of the given bytes, if it comes next.
func (t *jsonText) skipByte(of string) bool {
	isThere := t.at < len(t.text) && strings.IndexByte(of, t.text[t.at]) >= 0
	if isThere {
		t.at++
	}
	return isThere
}

func (t *jsonText) skipDigits() bool {
	from := t.at
	for t.at < len(t.text) && '0' <= t.text[t.at] && t.text[t.at] <= '9' {
		t.at++
	}
	return t.at > from
}

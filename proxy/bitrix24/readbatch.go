package bitrix24

import (
	"bytes"
	"encoding/json"
	"iter"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// ReadBatch reports whether c is a batch whose commands are all reads. body is the
// whole body of the request, as it is sent and without an encoding.
//
// It depends on the portal from which of several places PHP takes a command, so
// each command in each place must be a read. A batch that PHP may understand
// differently is not one of reads (README.md#batch-of-version-2).
func ReadBatch(c Call, rawQuery, contentType string, body []byte) bool {
	if !c.Batch() {
		return false
	}
	var commands readCommands
	fits := commands.query(c.Version, rawQuery) && commands.body(c.Version, contentType, body)
	return fits && commands.found > 0
}

// readCommands counts the commands of a batch. Its methods report whether what they
// are given contains only reads.
type readCommands struct{ found int }

// add examines a command of version 2, method?query. For PHP's parse_url the method
// ends at the first question mark or number sign.
func (r *readCommands) add(command string) bool {
	end := strings.IndexAny(command+"?", "?#")
	return r.addMethod(command[:end])
}

func (r *readCommands) addMethod(method string) bool {
	r.found++
	return looksLikeMethod(method) && isRead(strings.ToLower(method))
}

func (r *readCommands) query(version int, raw string) bool {
	if version == 3 { // the commands are in the body
		for name := range parameters(raw) {
			if name == "" || strings.ContainsAny(name[:1], "0123456789[ ") || isLikeCommand(name) {
				return false
			}
		}
		return true
	}
	return r.form(raw)
}

func (r *readCommands) body(version int, contentType string, body []byte) bool {
	if len(body) == 0 {
		return true
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	switch {
	case err != nil, charset != "" && !strings.EqualFold(charset, "utf-8"):
		return false
	case mediaType == "application/json" && version == 3:
		return r.json3(body)
	case mediaType == "application/json":
		return r.json2(body)
	case mediaType == "application/x-www-form-urlencoded" && version == 2:
		return !looksStructured(body) && r.form(string(body))
	}
	return false
}

// form examines cmd[key]=command in a query or form. A semicolon may be a
// separator, a NUL ends a name, and PHP drops blanks before a name.
func (r *readCommands) form(encoded string) bool {
	for part := range strings.SplitSeq(encoded, "&") {
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(rawName)
		value, err2 := url.QueryUnescape(rawValue)
		if err1 != nil || err2 != nil || strings.ContainsAny(part, ";\x00") || strings.ContainsRune(name, 0) {
			return false
		}
		if name = strings.TrimSpace(name); isLikeCommand(name) && !(isCommand(name) && r.add(value)) {
			return false
		}
	}
	return true
}

// looksStructured reports whether a body may be JSON or XML, whatever its type says.
func looksStructured(body []byte) bool {
	text := trimStart(body)
	return len(text) > 0 && strings.IndexByte("{[<", text[0]) >= 0
}

// isLikeCommand reports whether PHP may read a parameter as cmd or as a part of it,
// or whether the portal may, which compares some names without case.
func isLikeCommand(name string) bool {
	name = strings.TrimSpace(name)
	return len(name) >= 3 && strings.EqualFold(name[:3], "cmd")
}

// isCommand reports whether a name is exactly cmd[key].
func isCommand(name string) bool {
	key, opened := strings.CutPrefix(strings.ToLower(name), "cmd[")
	key, closed := strings.CutSuffix(key, "]")
	return opened && closed && !strings.ContainsAny(key, "[]")
}

func (r *readCommands) json2(body []byte) bool {
	if !isWholeJSON(body, '{') {
		return false
	}
	for name, value := range members(body) {
		if !isLikeCommand(name) {
			continue
		}
		if !strings.EqualFold(name, "cmd") || !r.all(elements(value), (*readCommands).addText) {
			return false
		}
	}
	return true
}

// json3 examines a list of {method, query, as, parallel}, or an object that has
// these under numbers, beside auth (README.md#batch-of-version-3).
func (r *readCommands) json3(body []byte) bool {
	if isWholeJSON(body, '[') {
		return r.all(elements(body), (*readCommands).addItem)
	}
	if !isWholeJSON(body, '{') {
		return false
	}
	for name, value := range members(body) {
		isNumber := name != "" && strings.Trim(name, "0123456789") == ""
		if name != "auth" && !(isNumber && r.addItem(value)) {
			return false
		}
	}
	return true
}

// all examines each of the values, of which there must be at least one.
func (r *readCommands) all(values iter.Seq2[string, json.RawMessage], add func(*readCommands, json.RawMessage) bool) bool {
	before := r.found
	for _, value := range values {
		if !add(r, value) {
			return false
		}
	}
	return r.found > before
}

func (r *readCommands) addText(value json.RawMessage) bool {
	var command string
	return value[0] == '"' && json.Unmarshal(value, &command) == nil && r.add(command)
}

func (r *readCommands) addItem(item json.RawMessage) bool {
	before := r.found
	for name, value := range members(item) {
		switch {
		case name == "method":
			var method string
			if value[0] != '"' || json.Unmarshal(value, &method) != nil || !r.addMethod(method) {
				return false
			}
		case !slices.Contains([]string{"query", "as", "parallel"}, name):
			return false
		}
	}
	return r.found > before
}

// isWholeJSON reports whether text is one JSON value that begins with open and that
// PHP can read too.
func isWholeJSON(text []byte, open byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte{open}) && utf8.Valid(text) && json.Valid(text)
}

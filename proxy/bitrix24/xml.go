package bitrix24

import (
	"bytes"
	"encoding/xml"
	"html"
	"regexp"
	"strings"
)

// The XML of the API is a <response> with the members of the JSON as elements,
// mostly without a prolog, and not always well-formed (README.md#answers). So
// errors are read by hand; only the inside of a batch is read by encoding/xml.

// xmlOpening matches all that precedes the inside of the response.
var xmlOpening = regexp.MustCompile(`^(?:<\?xml[^>]*\?>\s*)?<response\s*(/?)>`)

func isXML(text []byte) bool { return len(text) > 0 && text[0] == '<' && xmlOpening.Match(text) }

const xmlClosing = "</response>"

func (a *Answer) examineXML(text []byte) {
	opening := xmlOpening.FindSubmatch(text)
	inside, whole := bytes.CutSuffix(text[len(opening[0]):], []byte(xmlClosing))
	if empty := len(opening[1]) > 0; !whole && !(empty && len(inside) == 0) {
		a.noAnswer(ReasonTruncated)
		return
	}
	children := xmlChildren(inside)
	_, hasResult := children["result"]
	code, hasError := children["error"]
	if !hasError || hasResult && !a.failsBeside(Code(code), children["error_description"]) {
		a.withoutError(hasResult)
		a.Time = xmlTime(text)
		if a.call.Batch() {
			a.readXMLBatch(text)
		}
		return
	}
	a.Code = Code(strings.TrimSpace(code))
	a.Description = children["error_description"]
	a.withError()
}

// xmlChildren returns the text of each element by its name. It stops at the first
// that it does not understand. The element result may be large and contain
// anything, so it is skipped to its last closing tag.
func xmlChildren(inside []byte) map[string]string {
	children := make(map[string]string)
	for {
		inside = bytes.TrimLeft(inside, " \t\r\n")
		tag, after, closed := bytes.Cut(inside, []byte(">"))
		opening, isTag := bytes.CutPrefix(tag, []byte("<"))
		if !isTag || !closed {
			return children
		}
		inside = after
		name, empty := strings.CutSuffix(string(opening), "/")
		name, _, _ = strings.Cut(name, " ")
		if empty {
			children[name] = ""
			continue
		}
		cut := bytes.Cut
		if name == "result" {
			children[name], cut = "", lastCut
		}
		text, rest, closed := cut(inside, []byte("</"+name+">"))
		if !closed {
			return children
		}
		if name != "result" {
			children[name] = html.UnescapeString(string(text))
		}
		inside = rest
	}
}

// xmlAfterTime matches what may follow the time element of the response.
var xmlAfterTime = regexp.MustCompile(`^\s*(?:<(?:total|next)>[^<]*</(?:total|next)>\s*)*</response>\s*$`)

// xmlTime reads the time element at the end of a response.
func xmlTime(tail []byte) Time {
	var t Time
	_, element, _ := lastCut(tail, []byte("<time>"))
	inside, after, _ := bytes.Cut(element, []byte("</time>"))
	if !xmlAfterTime.Match(after) {
		return t
	}
	for name, text := range xmlChildren(inside) {
		t.set(name, text)
	}
	return t
}

func lastCut(b, sep []byte) (before, after []byte, found bool) {
	i := bytes.LastIndex(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+len(sep):], true
}

// readXMLBatch reads response/result/result_error/<key>/error and
// response/result/result_time/<key>/operating.
func (a *Answer) readXMLBatch(text []byte) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = false
	var path []string
	var content strings.Builder
	var t Time
	for {
		token, err := d.Token()
		if err != nil {
			return
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			content.Reset()
		case xml.CharData:
			content.Write(token)
		case xml.EndElement:
			a.endOfInner(path, strings.TrimSpace(content.String()), &t)
			path = path[:len(path)-1]
			content.Reset()
		}
	}
}

// endOfInner uses the element that ended at path.
func (a *Answer) endOfInner(path []string, content string, t *Time) {
	if len(path) < 4 || path[1] != "result" {
		return
	}
	key, inner := path[3], strings.Join(path[4:], "/")
	switch {
	case path[2] == "result_error" && inner == "error":
		a.addInnerError(key, Code(content))
	case path[2] == "result_time" && inner == "":
		a.addInnerTime(key, *t)
		*t = Time{}
	case path[2] == "result_time":
		t.set(inner, content)
	}
}

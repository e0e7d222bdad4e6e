package bitrix24

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	typeJSON = "application/json; charset=utf-8"
	typeXML  = "text/xml; charset=utf-8"
)

// ErrorInfo is what the proxy adds to an error, as the member or element proxy.
type ErrorInfo struct {
	Source       string `json:"source"` // portal, network or proxy
	Reason       Reason `json:"reason"`
	Executed     Ran    `json:"executed"`
	Retryable    bool   `json:"retryable"`
	PortalStatus int    `json:"portal_status"` // 0 where the portal did not answer
	RequestID    string `json:"request_id"`
}

// ErrorInfo returns what is to be told beside a SystemError or NoAnswer. Its
// reason is the code's category or the answer's Reason; the request's ID is
// the caller's to fill in.
func (a Answer) ErrorInfo() ErrorInfo {
	p := ErrorInfo{
		Source:       "portal",
		Reason:       a.Reason,
		Executed:     a.Executed(),
		Retryable:    a.Retryable(),
		PortalStatus: a.status,
	}
	if a.Known != nil {
		p.Reason = Reason(a.Known.Category)
	}
	return p
}

// Normalized returns what the caller gets instead of an answer that Examine
// has seen whole.
//
// A system error gets the documented status of its code and p beside it; code,
// description and further keys stay as the portal sent them, but for white
// space around the code and an empty description, for which the documented
// text stands in. What is no answer becomes ERROR_UNEXPECTED_ANSWER, and
// nothing of it is passed on. Everything else passes as it came, except that
// the status of a method's own error is never 2xx but 400, or the documented one
// where its code is of the table.
func (a Answer) Normalized(p ErrorInfo) (status int, contentType string, body []byte) {
	switch a.Kind {
	case KindSystemError:
		status = a.Known.Status
		body = a.systemErrorBody(p)
	case KindNoAnswer:
		known := Lookup(CodeUnexpectedAnswer)
		status = known.Status
		body = Error(known.Code, known.Text+": "+a.unexpected(p.Executed), p, a.call.XML)
	case KindMethodError:
		return a.methodErrorStatus(), a.contentType, a.body
	default:
		return a.status, a.contentType, a.body
	}
	return status, ContentType(a.call.XML), body
}

// unexpected says what came in the place of an answer, and whether the call may
// have run.
func (a Answer) unexpected(executed Ran) string {
	text := map[Reason]string{
		ReasonHTML:      "an HTML page",
		ReasonEmpty:     "an empty answer",
		ReasonTruncated: "an answer that breaks off",
		ReasonNotJSON:   "an answer that is not one of the API",
	}[a.Reason]
	if text == "" {
		text = "no whole answer" // for a reason of the caller's own
	}
	text = fmt.Sprintf("%s at status %d", text, a.status)
	if executed == RanUnknown {
		text += "; the call may have run"
	}
	return text
}

// methodErrorStatus is never that of a success; where a method uses a word of the
// table, it is the word's.
func (a Answer) methodErrorStatus() int {
	if a.status >= 400 {
		return a.status
	}
	if known := Lookup(a.Code); known != nil {
		return known.Status
	}
	return 400
}

// ContentType returns the media type of what Error writes.
func ContentType(xml bool) string {
	if xml {
		return typeXML
	}
	return typeJSON
}

// Error returns the body of an error made here: flat on every path, since no
// client library minds that, and error and error_description always strings.
func Error(code Code, description string, p ErrorInfo, asXML bool) []byte {
	if asXML {
		return errorXML(code, description, nil, p)
	}
	return encode(struct {
		Error       Code      `json:"error"`
		Description string    `json:"error_description"`
		Proxy       ErrorInfo `json:"proxy"`
	}{code, description, p})
}

func (a Answer) systemErrorBody(p ErrorInfo) []byte {
	description := a.Description
	if strings.TrimSpace(description) == "" {
		description = a.Known.Text
	}
	switch {
	case a.call.XML && a.xml:
		return errorXML(a.Code, description, a.furtherXML(), p)
	case a.call.XML || a.xml: // the other notation has no place for further keys
		return Error(a.Code, description, p, a.call.XML)
	case a.V3:
		return object(a.Fields, []Field{{"error", a.v3Object(description)}, {"proxy", encode(p)}})
	}
	return object(a.Fields, []Field{{"error", encode(a.Code)}, {"error_description", encode(description)}, {"proxy", encode(p)}})
}

// v3Object returns the error object of version 3 with its validation and
// whatever else stands in it.
func (a Answer) v3Object(description string) []byte {
	for _, field := range a.Fields {
		if field.Name == "error" {
			return object(fieldsOf(field.Value), []Field{{"code", encode(a.Code)}, {"message", encode(description)}})
		}
	}
	return nil // not reached: an Answer of version 3 has the field
}

// object writes a JSON object: the fields in their order, with the values of
// set in place of their own, and what is left of set behind them.
func object(fields, set []Field) []byte {
	values := make(map[string][]byte, len(set))
	for _, field := range set {
		values[field.Name] = field.Value
	}
	b := []byte{'{'}
	write := func(name string, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, encode(name)...), ':'), value...)
	}
	for _, field := range fields {
		if value, ok := values[field.Name]; ok {
			write(field.Name, value)
			delete(values, field.Name)
			continue
		}
		write(field.Name, field.Value)
	}
	for _, field := range set {
		if value, ok := values[field.Name]; ok {
			write(field.Name, value)
		}
	}
	return append(b, '}')
}

// furtherXML returns the portal's elements other than error,
// error_description and proxy, as they stand.
func (a Answer) furtherXML() []byte {
	inside := xmlOpening.ReplaceAll(trimEnd(trimStart(a.body)), nil)
	inside = bytes.TrimSuffix(inside, []byte(xmlClosing))
	for _, name := range []string{"error", "error_description", "proxy"} {
		before, rest, opened := bytes.Cut(inside, []byte("<"+name+">"))
		_, after, closed := bytes.Cut(rest, []byte("</"+name+">"))
		if opened && closed {
			inside = append(bytes.Clone(before), after...)
		}
		inside = bytes.ReplaceAll(inside, []byte("<"+name+"/>"), nil)
	}
	return inside
}

// errorXML writes an error as XML. Further elements are left out where they
// are not well-formed.
func errorXML(code Code, description string, further []byte, p ErrorInfo) []byte {
	var b bytes.Buffer
	element := func(name string, value any) {
		fmt.Fprintf(&b, "<%s>", name)
		_ = xml.EscapeText(&b, fmt.Append(nil, value)) // a Buffer never fails
		fmt.Fprintf(&b, "</%s>", name)
	}
	b.WriteString("<response>")
	element("error", code)
	element("error_description", description)
	if wellFormed(further) {
		b.Write(further)
	}
	b.WriteString("<proxy>")
	element("source", p.Source)
	element("reason", p.Reason)
	element("executed", p.Executed)
	element("retryable", p.Retryable)
	element("portal_status", p.PortalStatus)
	element("request_id", p.RequestID)
	b.WriteString("</proxy>" + xmlClosing)
	return b.Bytes()
}

// wellFormed tells whether a piece of XML can stand inside an element.
func wellFormed(piece []byte) bool {
	d := xml.NewDecoder(io.MultiReader(bytes.NewReader([]byte("<x>")), bytes.NewReader(piece), bytes.NewReader([]byte("</x>"))))
	depth := 0
	for elements := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return depth == 0 && elements == 1
		}
		if err != nil {
			return false
		}
		switch token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				elements++
			}
		case xml.EndElement:
			depth--
		case xml.ProcInst, xml.Directive:
			return false
		}
	}
}

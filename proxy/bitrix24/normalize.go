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
// Client libraries ignore members that they do not know (README.md#clients).
type ErrorInfo struct {
	Source       string `json:"source"` // portal, network or proxy
	Reason       Reason `json:"reason"`
	Executed     Ran    `json:"executed"`
	Retryable    bool   `json:"retryable"`
	PortalStatus int    `json:"portal_status"` // 0 if the portal did not answer
	RequestID    string `json:"request_id"`
}

// ErrorInfo returns what is added to a KindSystemError or a KindNoAnswer. Its
// reason is the category of the code or the answer's Reason. The caller sets the
// source and the ID of the request.
func (a Answer) ErrorInfo() ErrorInfo {
	p := ErrorInfo{
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

// Normalized returns what the caller gets in place of an answer that Examine has
// seen whole.
//
// A system error gets the documented status of its code, and p is added to it. Its
// code, description and further keys stay as the portal sent them, except that
// white space around the code is removed, and that the documented text replaces an
// empty description. A KindNoAnswer becomes ERROR_UNEXPECTED_ANSWER, and nothing
// of it is passed on. Any other answer stays as it came, except that the error of
// a method never has a status below 400: it gets the documented status of its
// code, or 400.
func (a Answer) Normalized(p ErrorInfo) (status int, contentType string, body []byte) {
	switch a.Kind {
	case KindSystemError:
		status = a.Known.Status
		body = a.systemErrorBody(p)
	case KindNoAnswer:
		known := Lookup(CodeUnexpectedAnswer)
		status = known.Status
		body = Error(known.Code, known.Text+": "+a.whatCame(p.Executed), p, a.call.XML)
	case KindMethodError:
		return a.methodErrorStatus(), a.contentType, a.body
	default:
		return a.status, a.contentType, a.body
	}
	return status, ContentType(a.call.XML), body
}

// whatCame says what came in place of an answer, and whether the call may have
// run.
func (a Answer) whatCame(executed Ran) string {
	text := map[Reason]string{
		ReasonHTML:      "an HTML page",
		ReasonEmpty:     "an empty answer",
		ReasonTruncated: "an answer that breaks off",
		ReasonNotJSON:   "an answer that is not one of the API",
	}[a.Reason]
	if text == "" {
		text = "no whole answer" // the caller has set another reason
	}
	text = fmt.Sprintf("%s at status %d", text, a.status)
	if executed == RanUnknown {
		text += "; the call may have run"
	}
	return text
}

// methodErrorStatus returns a status that is never that of a success.
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

// Error returns the body of an error that is made here. It is a flat object on
// every path, and error and error_description are always strings: all client
// libraries can read that (README.md#clients).
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
	case a.call.XML || a.xml: // further keys cannot be copied between JSON and XML
		return Error(a.Code, description, p, a.call.XML)
	case a.V3:
		return object(a.Fields, []Field{{"error", a.v3Object(description)}, {"proxy", encode(p)}})
	}
	return object(a.Fields, []Field{{"error", encode(a.Code)}, {"error_description", encode(description)}, {"proxy", encode(p)}})
}

// v3Object returns the error object of version 3, with its validation and all
// else that it contains.
func (a Answer) v3Object(description string) []byte {
	for _, field := range a.Fields {
		if field.Name == "error" {
			return object(fieldsOf(field.Value), []Field{{"code", encode(a.Code)}, {"message", encode(description)}})
		}
	}
	return nil // not reached: the error of version 3 is one of the fields
}

// object writes a JSON object: the fields in their order, with the values of set
// where it has the same names, and then the rest of set.
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

// furtherXML returns the portal's elements other than error, error_description and
// proxy, as they came.
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

// errorXML writes an error as XML. It leaves out further elements that are not
// well-formed.
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

// wellFormed reports whether a piece of XML can be put inside an element.
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

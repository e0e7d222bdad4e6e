package bitrix24

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Kind is what an answer is.
type Kind int

const (
	// KindUntouched is an answer that is not examined: one from another path
	// than /rest/, or a redirect.
	KindUntouched Kind = iota
	// KindOK is an answer of the API without an error at its top level.
	KindOK
	// KindSystemError is a SystemError.
	KindSystemError
	// KindMethodError is any other error, one of the method itself.
	KindMethodError
	// KindNoAnswer is not an answer of the API, or only a part of one;
	// Answer.Reason says which.
	KindNoAnswer
)

// String returns the kind's name, such as "system_error".
func (k Kind) String() string {
	return [...]string{"untouched", "ok", "system_error", "method_error", "no_answer"}[k]
}

// IsError reports whether an answer of this kind is an error, with or without a code.
func (k Kind) IsError() bool {
	return k == KindSystemError || k == KindMethodError || k == KindNoAnswer
}

// Answer is what an answer means.
type Answer struct {
	Kind        Kind
	Code        Code         // the portal's spelling, trimmed; "" also for null
	Known       *SystemError // of a KindSystemError, else nil
	Description string
	Reason      Reason  // of a KindNoAnswer
	V3          bool    // error is an object
	Fields      []Field // the top level of an error in JSON, each name listed once
	Time        Time    // of the call itself

	// The errors and the times of the commands inside a batch of version 2. At
	// most 100 of each are kept. A batch with errors inside is a KindOK.
	Inner      []InnerError
	InnerTimes map[string]Time

	call        Call
	status      int
	contentType string
	body        []byte
	xml         bool // the answer is written as XML
}

// Field is a member of a JSON object, its value as it was written.
type Field struct {
	Name  string
	Value json.RawMessage
}

// InnerError is the error of a command inside a batch.
type InnerError struct {
	Key  string // of the command; its position where the portal sent a list
	Code Code
}

// maxInner bounds what is kept of a batch, which has at most 50 commands
// (README.md#batch-of-version-2).
const maxInner = 100

// Examine returns what a whole answer means. The body must be uncompressed. It
// must not be used for the answer to a HEAD or OPTIONS request, which is empty
// and would count as a missing answer.
//
// An error is a key error at the top level without a key result, whatever the
// status and whatever its value (README.md#answers). Beside a result it is an
// error only if it is a system error at status 4xx or 5xx. JSON that names no
// error is a success below status 400, a KindMethodError without a code at 4xx,
// and a KindNoAnswer at 5xx.
//
// ACCESS_DENIED is the portal's own at status 401, or if its text mentions the
// plan or the subscription; otherwise it is a method's
// (README.md#system-errors). Below status 400 both get the documented status.
func Examine(call Call, status int, contentType string, body []byte) Answer {
	a := Answer{call: call, status: status, contentType: contentType, body: body}
	if untouched(call, status) {
		return a
	}
	text := trimEnd(trimStart(body))
	switch {
	case len(text) == 0 && (status == 204 || status == 205):
		a.Kind = KindOK
	case len(text) == 0:
		a.noAnswer(ReasonEmpty)
	case isXML(text):
		a.xml = true
		a.examineXML(text)
	case text[0] == '<':
		a.noAnswer(ReasonHTML)
	default:
		a.examineJSON(text)
	}
	return a
}

// Unreadable returns what is known about an answer whose body cannot be decoded,
// which is what its status says.
func Unreadable(call Call, status int, contentType string) Answer {
	a := Answer{call: call, status: status, contentType: contentType}
	a.withoutError(false)
	return a
}

// untouched reports whether an answer is not to be examined. A redirect is
// followed by the transport.
func untouched(call Call, status int) bool {
	return !call.REST() || 300 <= status && status < 400
}

func (a *Answer) noAnswer(reason Reason) { a.Kind, a.Reason = KindNoAnswer, reason }

// withoutError decides about an answer that names no error.
func (a *Answer) withoutError(hasResult bool) {
	switch {
	case a.status >= 500: // the server says itself that this is not a result
		a.noAnswer(ReasonNotJSON)
	case hasResult || a.status < 400:
		a.Kind = KindOK
	default:
		a.Kind = KindMethodError
	}
}

// withError decides about an answer whose code and description have been read.
func (a *Answer) withError() {
	if a.Code == "" && a.status >= 500 {
		a.noAnswer(ReasonNotJSON)
		return
	}
	a.Kind = KindMethodError
	known := Lookup(a.Code)
	if known != nil && fromPortal(known, a.status, a.Description) {
		a.Kind, a.Known = KindSystemError, known
	}
}

// failsBeside reports whether an answer is an error although it has a result: a
// system error at status 4xx or 5xx is one (README.md#answers).
func (a *Answer) failsBeside(code Code, description string) bool {
	known := Lookup(code)
	return a.status >= 400 && known != nil && fromPortal(known, a.status, description)
}

// fromPortal reports whether a code of the table came from the portal and not
// from a method that uses the same word (README.md#system-errors).
func fromPortal(known *SystemError, status int, description string) bool {
	switch known.Code {
	case codeAccessDenied:
		description = strings.ToLower(description)
		return status == 401 || strings.Contains(description, "subscription") ||
			strings.Contains(description, "commercial plan")
	case codeV3AccessDenied:
		return status == 401
	}
	return true
}

func (a *Answer) examineJSON(text []byte) {
	var result, failure, description, spent json.RawMessage
	isValid := wholeText(text, func(name string, value json.RawMessage) {
		switch name {
		case "result":
			result = value
		case "error":
			failure = value
		case "error_description":
			description = value
		case "time":
			spent = value
		}
	})
	if !isValid {
		a.noAnswer(a.whyInvalid(text))
		return
	}
	a.Description, a.Time = textOf(description), timeOf(spent)
	if a.V3 = failure != nil && failure[0] == '{'; a.V3 {
		a.Description = messageOf(failure)
	}
	a.Code = codeOf(failure)
	if failure == nil || result != nil && !a.failsBeside(a.Code, a.Description) {
		a.Code, a.Description, a.V3 = "", "", false
		a.withoutError(result != nil)
		if a.call.Batch() && a.call.Version == 2 {
			a.readBatch(result)
		}
		return
	}
	a.Fields = fieldsOf(text)
	a.withError()
}

// whyInvalid says why a text is not JSON: it was cut off, or never was any.
func (a *Answer) whyInvalid(text []byte) Reason {
	var raw json.RawMessage
	err := json.NewDecoder(bytes.NewReader(text)).Decode(&raw)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonTruncated
	case text[0] != '{' && text[0] != '[' && strings.Contains(strings.ToLower(a.contentType), "html"):
		return ReasonHTML
	}
	return ReasonNotJSON
}

// codeOf reads the value of the key error: a word, a number, null, or the object
// of version 3.
func codeOf(raw json.RawMessage) Code {
	for name, value := range members(raw) {
		if name == "code" {
			raw = value
			break
		}
	}
	return Code(strings.TrimSpace(textOf(raw)))
}

// messageOf reads the description from an error object of version 3.
func messageOf(raw json.RawMessage) (message string) {
	for name, value := range members(raw) {
		if name == "message" {
			message = textOf(value)
		}
	}
	return message
}

// fieldsOf returns the members of an object. A name that occurs twice has the
// place of the first and the value of the last.
func fieldsOf(object []byte) []Field {
	var fields []Field
	index := make(map[string]int)
	for name, value := range members(object) {
		if i, ok := index[name]; ok {
			fields[i].Value = value
			continue
		}
		index[name] = len(fields)
		fields = append(fields, Field{name, value})
	}
	return fields
}

// readBatch reads the result of a batch of version 2.
func (a *Answer) readBatch(result json.RawMessage) {
	for name, value := range members(result) {
		switch name {
		case "result_error":
			for key, value := range elements(value) {
				a.addInnerError(key, innerCode(value))
			}
		case "result_time":
			for key, value := range elements(value) {
				a.addInnerTime(key, timeOf(value))
			}
		}
	}
}

// innerCode reads the code from the error of one command. The text may be cut
// off behind the code.
func innerCode(raw json.RawMessage) Code {
	for name, value := range members(raw) {
		if name == "error" {
			return codeOf(value)
		}
	}
	return codeOf(raw)
}

func (a *Answer) addInnerError(key string, code Code) {
	if len(a.Inner) < maxInner {
		a.Inner = append(a.Inner, InnerError{bounded(key), Code(bounded(string(code)))})
	}
}

func (a *Answer) addInnerTime(key string, t Time) {
	if !t.HasOperating && t.ResetAt.IsZero() || len(a.InnerTimes) >= maxInner {
		return
	}
	if a.InnerTimes == nil {
		a.InnerTimes = make(map[string]Time)
	}
	a.InnerTimes[bounded(key)] = t
}

// bounded shortens a key or code, since many of them are kept.
func bounded(s string) string { return s[:min(len(s), maxCode)] }

// Executed says whether the call ran.
//
// For a system error the table says so, with one exception: in version 3 the
// first error replaces the whole answer of a batch, although earlier commands ran
// (README.md#batch-of-version-3). A KindMethodError was executed, since the method
// was called; whether it changed anything before it failed, only its own
// documentation can say. Nothing is known about a KindNoAnswer, about an error
// without a code, and about an error at status 401, which the portal sends also
// when its authorization server fails.
func (a Answer) Executed() Ran {
	switch a.Kind {
	case KindOK:
		return RanYes
	case KindMethodError:
		if a.Code != "" && a.status != 401 {
			return RanYes
		}
	case KindSystemError:
		if a.V3 && a.call.mayBeBatch3() {
			return RanUnknown
		}
		return a.Known.Ran
	}
	return RanUnknown
}

// IsRefusal reports whether the portal refused the call for its rate limit.
func (a Answer) IsRefusal() bool {
	return a.Known != nil && a.Known.Category == CategoryRateLimit && a.Executed() == RanNo
}

// ErrorCode returns the code of an error as the caller reads it, which may be empty.
func (a Answer) ErrorCode() Code {
	if a.Kind == KindNoAnswer {
		return CodeUnexpectedAnswer
	}
	return a.Code
}

// Retryable reports whether the same call may be sent again unchanged and may
// succeed then: the failure passes by itself, and the call did not run or is a
// read.
func (a Answer) Retryable() bool {
	switch a.Kind {
	case KindSystemError:
		return a.Known.Passing && (a.Executed() == RanNo || a.call.Read())
	case KindNoAnswer:
		lasting := 400 <= a.status && a.status < 500 && a.status != 408 && a.status != 429
		return a.call.Read() && !lasting
	}
	return false
}

package bitrix24

import (
	"slices"
	"strings"
)

// Ran says whether a call was executed. It decides whether a caller may repeat a
// write.
type Ran int

const (
	RanUnknown Ran = iota
	RanNo
	RanYes
)

// String returns "unknown", "no" or "yes".
func (r Ran) String() string {
	switch r {
	case RanNo:
		return "no"
	case RanYes:
		return "yes"
	}
	return "unknown"
}

// MarshalText makes JSON show the word.
func (r Ran) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Category groups codes by what somebody has to do about them.
type Category string

const (
	CategoryRateLimit     Category = "rate_limit"     // send less at once
	CategoryOperatingTime Category = "operating_time" // use the method less
	CategoryBlocked       Category = "blocked"        // only the portal's owner or Bitrix24 can lift it
	CategoryAuth          Category = "auth"           // renew or repair the credential
	CategoryAccess        Category = "access"         // the credential is good, its rights are not
	CategoryRequest       Category = "request"        // repair the call
	CategoryInternal      Category = "internal"       // the portal failed
)

// Code is the name of an error, in its sender's spelling. The set is open: every
// method may have codes of its own.
type Code string

// The codes that this program itself gives or looks for.
const (
	CodeQueryLimitExceeded Code = "QUERY_LIMIT_EXCEEDED"
	CodeOperationTimeLimit Code = "OPERATION_TIME_LIMIT"
	CodeOverloadLimit      Code = "OVERLOAD_LIMIT"
	CodeUnexpectedAnswer   Code = "ERROR_UNEXPECTED_ANSWER"

	codeAccessDenied Code = "ACCESS_DENIED"
)

// SystemError is an error that the REST API itself sends, whatever the method.
type SystemError struct {
	Code     Code
	Status   int    // documented HTTP status; the portal often sends another
	Text     string // documented description
	Ran      Ran
	Category Category
	Passing  bool // the same call may succeed later, and nobody has to do anything
}

// systemErrors is the table (README.md#system-errors). The first sixteen rows are
// documented, with their texts. The others were read in the server's source, and
// their texts are ours. RanUnknown means that a method may send the code after it
// has begun.
var systemErrors = []SystemError{
	{"INTERNAL_SERVER_ERROR", 500, "Internal server error", RanUnknown, CategoryInternal, true},
	{CodeUnexpectedAnswer, 500, "Server returned an unexpected response", RanUnknown, CategoryInternal, true},
	{CodeQueryLimitExceeded, 503, "Too many requests", RanNo, CategoryRateLimit, true},
	{CodeOperationTimeLimit, 429, "Method is blocked due to operation time limit", RanNo, CategoryOperatingTime, true},
	{"ERROR_BATCH_METHOD_NOT_ALLOWED", 405, "Method is not allowed for batch usage", RanNo, CategoryRequest, false},
	{"ERROR_BATCH_LENGTH_EXCEEDED", 400, "Max batch length exceeded", RanNo, CategoryRequest, false},
	{"NO_AUTH_FOUND", 401, "Wrong authorization data", RanNo, CategoryAuth, false},
	{"INVALID_REQUEST", 400, "Https required", RanNo, CategoryRequest, false},
	{CodeOverloadLimit, 503, "REST API is blocked due to overload", RanNo, CategoryBlocked, false}, // until Bitrix24 lifts the block by hand
	{codeAccessDenied, 403, "REST API is available only on commercial plans", RanNo, CategoryAccess, false},
	{"INVALID_CREDENTIALS", 403, "Invalid request credentials", RanNo, CategoryAuth, false},
	{"ERROR_MANIFEST_IS_NOT_AVAILABLE", 404, "Manifest is not available", RanNo, CategoryRequest, false},
	{"insufficient_scope", 403, "The request requires higher privileges than provided by the webhook token", RanNo, CategoryAccess, false},
	{"expired_token", 401, "The access token provided has expired", RanNo, CategoryAuth, false},
	{"user_access_error", 403, "The user does not have access to the application", RanNo, CategoryAccess, false},
	{"PORTAL_DELETED", 500, "Portal was deleted", RanNo, CategoryBlocked, false},

	{"invalid_token", 401, "The access token is invalid", RanNo, CategoryAuth, false},
	{"ERROR_OAUTH", 401, "Authorization failed", RanNo, CategoryAuth, false},
	{"NOT_INSTALLED", 401, "The application is not installed", RanNo, CategoryAuth, false},
	{"PAYMENT_REQUIRED", 401, "The application has not been paid for", RanNo, CategoryAccess, false},
	{"authorization_error", 401, "Authorization error", RanNo, CategoryAuth, false},
	{"APPLICATION_NOT_FOUND", 401, "The application was not found", RanNo, CategoryAuth, false},
	{"session_failed", 401, "The session check failed", RanNo, CategoryAuth, false},
	{"CONNECTION_ERROR", 401, "The portal could not reach the authorization server", RanNo, CategoryAuth, true},
	{"ERROR_METHOD_NOT_FOUND", 404, "Method not found", RanNo, CategoryRequest, false},
	{"METHOD_CONFIRM_WAITING", 401, "The method waits for an administrator's confirmation", RanNo, CategoryAccess, false},
	{"METHOD_CONFIRM_DENIED", 403, "An administrator denied the method", RanNo, CategoryAccess, false},
	{"WRONG_AUTH_TYPE", 403, "The method does not accept this kind of authorization", RanUnknown, CategoryAccess, false},
	{"WRONG_LICENSE", 403, "The portal's plan does not include the method", RanUnknown, CategoryAccess, false},
	{"allowed_only_intranet_user", 403, "Only intranet users are allowed", RanUnknown, CategoryAccess, false},
	{"INTERNAL_WRONG_TRANSPORT", 500, "Wrong transport", RanUnknown, CategoryInternal, false},
	{"INTERNAL_WRONG_HANDLER_CLASS", 500, "Wrong handler class", RanUnknown, CategoryInternal, false},

	// The method ran, and its answer could not be encoded. The portal sends 200
	// (README.md#system-errors). Some clients repeat a call after a 500, and none
	// does after a 422 (README.md#clients).
	{"WRONG_ENCODING", 422, "The answer could not be encoded", RanYes, CategoryInternal, false},

	// Codes of version 3. Lookup compares only their endings.
	{v3Prefix + "EXCEPTION_RATELIMITEXCEPTION", 429, "Rate limit exceeded", RanNo, CategoryRateLimit, true},
	{v3Prefix + "EXCEPTION_METHODNOTFOUNDEXCEPTION", 404, "Method not found", RanNo, CategoryRequest, false},
	{v3Prefix + "EXCEPTION_INTERNAL_INTERNALEXCEPTION", 500, "Internal error", RanUnknown, CategoryInternal, true},
	// In version 3 each failure of authorization has this code, at status 401. At
	// any other status it is a method's own, as with ACCESS_DENIED (see Examine).
	{codeV3AccessDenied, 401, "Access denied", RanNo, CategoryAuth, false},
}

// v3Prefix begins every code of version 3.
const v3Prefix = "BITRIX_REST_V3_"

const codeV3AccessDenied Code = v3Prefix + "EXCEPTION_ACCESSDENIEDEXCEPTION"

// byCode has the rows by their codes in lower case.
var byCode = func() map[string]*SystemError {
	m := make(map[string]*SystemError)
	for i := range systemErrors {
		m[strings.ToLower(string(systemErrors[i].Code))] = &systemErrors[i]
	}
	return m
}()

// SystemErrors returns the table, in its order.
func SystemErrors() []SystemError { return slices.Clone(systemErrors) }

// Lookup returns the row of a code, or nil. It compares without case and
// without the white space around.
//
// A code of version 3 is the name of a PHP class with its namespaces, which
// differ between releases of the server. It is found by its ending: the row
// BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION is also that of any other code
// that begins with BITRIX_REST_V3_ and ends with _RATELIMITEXCEPTION.
func Lookup(code Code) *SystemError {
	name := strings.TrimSpace(string(code))
	if len(name) > maxCode {
		return nil
	}
	if known := byCode[strings.ToLower(name)]; known != nil {
		return known
	}
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, v3Prefix) {
		return nil
	}
	for i := range systemErrors {
		ending, isV3 := strings.CutPrefix(string(systemErrors[i].Code), v3Prefix+"EXCEPTION")
		if isV3 && strings.HasSuffix(name, ending) {
			return &systemErrors[i]
		}
	}
	return nil
}

// maxCode is the longest code in bytes that is looked up.
const maxCode = 256

// The labels of codes that are not in the table.
const (
	LabelEmpty   = "empty"   // "", which JSON null becomes too, and blanks
	LabelNumeric = "numeric" // digits alone, such as "0"
	LabelOther   = "other"
)

// Label returns the bounded name of a code for a metric: the table's spelling where
// Lookup finds it, else one of the labels above.
func Label(code Code) string {
	if known := Lookup(code); known != nil {
		return string(known.Code)
	}
	name := strings.TrimSpace(string(code))
	switch {
	case name == "":
		return LabelEmpty
	case strings.Trim(name, "0123456789") == "":
		return LabelNumeric
	}
	return LabelOther
}

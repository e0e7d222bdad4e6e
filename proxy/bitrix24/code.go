package bitrix24

import (
	"slices"
	"strings"
)

// Ran tells whether a call was executed. It decides whether a caller may
// repeat a write.
type Ran int

const (
	Unknown Ran = iota
	No
	Yes
)

// String returns "unknown", "no" or "yes".
func (r Ran) String() string {
	switch r {
	case No:
		return "no"
	case Yes:
		return "yes"
	}
	return "unknown"
}

// MarshalText makes a Ran a word in JSON.
func (r Ran) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Category groups codes by what an operator does about them.
type Category string

const (
	RateLimit     Category = "rate_limit"     // send less at once
	OperatingTime Category = "operating_time" // use the method less
	Blocked       Category = "blocked"        // only the portal's owner or Bitrix24 can lift it
	Auth          Category = "auth"           // renew or repair the credential
	Access        Category = "access"         // the credential is good, its rights are not
	Request       Category = "request"        // repair the call
	Internal      Category = "internal"       // the portal failed
)

// Code is a system error: one that the REST API itself sends, whatever the
// method. Methods have errors of their own, and that set is open.
type Code struct {
	Name     string
	Status   int    // documented HTTP status; the portal often sends another
	Text     string // documented description
	Ran      Ran
	Category Category
	Passing  bool // the same call may succeed later without anybody's doing
}

// codes is the table. The first sixteen rows are documented, with their texts;
// the status and existence of the others were read in the server's source, and
// their texts are ours. Where a row says Unknown, a method may have sent the
// code after it began.
var codes = []Code{
	{"INTERNAL_SERVER_ERROR", 500, "Internal server error", Unknown, Internal, true},
	{"ERROR_UNEXPECTED_ANSWER", 500, "Server returned an unexpected response", Unknown, Internal, true},
	{"QUERY_LIMIT_EXCEEDED", 503, "Too many requests", No, RateLimit, true},
	{"OPERATION_TIME_LIMIT", 429, "Method is blocked due to operation time limit", No, OperatingTime, true},
	{"ERROR_BATCH_METHOD_NOT_ALLOWED", 405, "Method is not allowed for batch usage", No, Request, false},
	{"ERROR_BATCH_LENGTH_EXCEEDED", 400, "Max batch length exceeded", No, Request, false},
	{"NO_AUTH_FOUND", 401, "Wrong authorization data", No, Auth, false},
	{"INVALID_REQUEST", 400, "Https required", No, Request, false},
	{"OVERLOAD_LIMIT", 503, "REST API is blocked due to overload", No, Blocked, false}, // by hand, until support lifts it
	{"ACCESS_DENIED", 403, "REST API is available only on commercial plans", No, Access, false},
	{"INVALID_CREDENTIALS", 403, "Invalid request credentials", No, Auth, false},
	{"ERROR_MANIFEST_IS_NOT_AVAILABLE", 404, "Manifest is not available", No, Request, false},
	{"insufficient_scope", 403, "The request requires higher privileges than provided by the webhook token", No, Access, false},
	{"expired_token", 401, "The access token provided has expired", No, Auth, false},
	{"user_access_error", 403, "The user does not have access to the application", No, Access, false},
	{"PORTAL_DELETED", 500, "Portal was deleted", No, Blocked, false},

	{"invalid_token", 401, "The access token is invalid", No, Auth, false},
	{"ERROR_OAUTH", 401, "Authorization failed", No, Auth, false},
	{"NOT_INSTALLED", 401, "The application is not installed", No, Auth, false},
	{"PAYMENT_REQUIRED", 401, "The application has not been paid for", No, Access, false},
	{"authorization_error", 401, "Authorization error", No, Auth, false},
	{"APPLICATION_NOT_FOUND", 401, "The application was not found", No, Auth, false},
	{"session_failed", 401, "The session check failed", No, Auth, false},
	{"CONNECTION_ERROR", 401, "The portal could not reach the authorization server", No, Auth, true},
	{"ERROR_METHOD_NOT_FOUND", 404, "Method not found", No, Request, false},
	{"METHOD_CONFIRM_WAITING", 401, "The method waits for an administrator's confirmation", No, Access, false},
	{"METHOD_CONFIRM_DENIED", 403, "An administrator denied the method", No, Access, false},
	{"WRONG_AUTH_TYPE", 403, "The method does not accept this kind of authorization", Unknown, Access, false},
	{"WRONG_LICENSE", 403, "The portal's plan does not include the method", Unknown, Access, false},
	{"allowed_only_intranet_user", 403, "Only intranet users are allowed", Unknown, Access, false},
	{"INTERNAL_WRONG_TRANSPORT", 500, "Wrong transport", Unknown, Internal, false},
	{"INTERNAL_WRONG_HANDLER_CLASS", 500, "Wrong handler class", Unknown, Internal, false},

	// The method ran, and its answer could not be written. The portal sends 200;
	// clients do not repeat a 422, but some a 500 (measured).
	{"WRONG_ENCODING", 422, "The answer could not be encoded", Yes, Internal, false},

	// Of version 3. Lookup matches their endings, see there.
	{v3Prefix + "EXCEPTION_RATELIMITEXCEPTION", 429, "Rate limit exceeded", No, RateLimit, true},
	{v3Prefix + "EXCEPTION_METHODNOTFOUNDEXCEPTION", 404, "Method not found", No, Request, false},
	{v3Prefix + "EXCEPTION_INTERNAL_INTERNALEXCEPTION", 500, "Internal error", Unknown, Internal, true},
	// Every failure of authorization in version 3, at status 401; at any other
	// it is a method's own word, as ACCESS_DENIED is (see Examine).
	{v3AccessDenied, 401, "Access denied", No, Auth, false},
}

// v3Prefix begins every code of version 3.
const v3Prefix = "BITRIX_REST_V3_"

const v3AccessDenied = v3Prefix + "EXCEPTION_ACCESSDENIEDEXCEPTION"

// byName has the rows by their names in lower case.
var byName = func() map[string]*Code {
	m := make(map[string]*Code)
	for i := range codes {
		m[strings.ToLower(codes[i].Name)] = &codes[i]
	}
	return m
}()

// Codes returns the table, in its order.
func Codes() []Code { return slices.Clone(codes) }

// Lookup returns the row of a code, or nil. It compares without case and
// without the white space around.
//
// A code of version 3 is the name of a PHP class with its namespaces, which
// the server's releases move about. It is found by its ending: the row
// BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION also stands for any other code
// that begins with BITRIX_REST_V3_ and ends with _RATELIMITEXCEPTION.
func Lookup(name string) *Code {
	name = strings.TrimSpace(name)
	if len(name) > maxCode {
		return nil
	}
	if code := byName[strings.ToLower(name)]; code != nil {
		return code
	}
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, v3Prefix) {
		return nil
	}
	for i := range codes {
		ending, isV3 := strings.CutPrefix(codes[i].Name, v3Prefix+"EXCEPTION")
		if isV3 && strings.HasSuffix(name, ending) {
			return &codes[i]
		}
	}
	return nil
}

// maxCode is the longest code in bytes that is looked at.
const maxCode = 256

// Label returns the bounded name of a code for a metric: the table's spelling
// where Lookup finds it, else "empty" ("" and what JSON null becomes, blanks),
// "numeric" (digits alone, such as "0"), or "other".
func Label(code string) string {
	if known := Lookup(code); known != nil {
		return known.Name
	}
	code = strings.TrimSpace(code)
	switch {
	case code == "":
		return "empty"
	case strings.Trim(code, "0123456789") == "":
		return "numeric"
	}
	return "other"
}

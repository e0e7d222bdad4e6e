package b24sim

import "strings"

// failure is an error as the API tells it.
type failure struct {
	code   any // a word; faults also send numbers, null and the like
	text   string
	status int
	extra  *array // further keys beside error
	object bool   // REST 3.0: {"error":{"code","message"}}
}

// code is a system error of the portal.
type code struct {
	name       string
	text       string
	documented int  // status in the documentation
	sent       int  // status the server's source sends; 0: the documented one
	ran        bool // the method may have run, so a fault lets it run first
}

// codes are the system errors with both statuses, as the project's facts list
// them: those of the documentation, then further ones read in the server's
// source, then those of REST 3.0.
var codes = []code{
	{"INTERNAL_SERVER_ERROR", "Internal server error", 500, 0, true},
	{"ERROR_UNEXPECTED_ANSWER", "Server returned an unexpected response", 500, 0, true},
	{"QUERY_LIMIT_EXCEEDED", "Too many requests", 503, 0, false},
	{"OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", 429, 0, false},
	{"ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", 405, 0, false},
	{"ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", 400, 0, false},
	{"NO_AUTH_FOUND", "Wrong authorization data", 401, 0, false},
	{"INVALID_REQUEST", "Https required", 400, 401, false},
	{"OVERLOAD_LIMIT", "REST API is blocked due to overload.", 503, 401, false},
	{"ACCESS_DENIED", "REST is available only by subscription.", 403, 401, false},
	{"INVALID_CREDENTIALS", "Invalid request credentials", 403, 401, false},
	{"ERROR_MANIFEST_IS_NOT_AVAILABLE", "Manifest is not available", 404, 0, false},
	{"insufficient_scope", "The request requires higher privileges than provided by the webhook token", 403, 401, false},
	{"expired_token", "The access token provided has expired", 401, 0, false},
	{"user_access_error", "The user does not have access to the application.", 403, 401, false},
	{"PORTAL_DELETED", "Portal was deleted", 500, 403, false},

	{"invalid_token", "Unable to get application by token", 401, 0, false},
	{"ERROR_OAUTH", "Application not installed", 401, 0, false},
	{"NOT_INSTALLED", "Application not installed", 401, 0, false},
	{"PAYMENT_REQUIRED", "Payment required", 401, 0, false},
	{"authorization_error", "Unable to authorize user", 401, 0, false},
	{"APPLICATION_NOT_FOUND", "Application not found", 401, 0, false},
	{"session_failed", "Sessid check failed", 401, 0, false},
	{"CONNECTION_ERROR", "Error connecting to authorization server", 401, 0, false},
	{"ERROR_METHOD_NOT_FOUND", "Method not found!", 404, 0, false},
	{"METHOD_CONFIRM_WAITING", "Waiting for confirmation", 401, 0, false},
	{"METHOD_CONFIRM_DENIED", "Method call denied", 403, 0, false},
	{"WRONG_AUTH_TYPE", "Current authorization type is denied for this method", 403, 0, false},
	{"WRONG_LICENSE", "Method is not available on this plan", 403, 0, false},
	{"allowed_only_intranet_user", "Allowed only intranet user", 403, 0, false},
	{"INTERNAL_WRONG_TRANSPORT", "Wrong transport", 500, 0, false},
	{"INTERNAL_WRONG_HANDLER_CLASS", "Wrong handler class", 500, 0, false},
	{"WRONG_ENCODING", "Wrong request encoding", 200, 0, true},

	{v3 + "RATELIMITEXCEPTION", "Rate limit exceeded", 429, 0, false},
	{v3 + "ACCESSDENIEDEXCEPTION", "Access denied", 401, 0, false},
	{v3 + "METHODNOTFOUNDEXCEPTION", "Method not found", 404, 0, false},
	{v3 + "INTERNAL_INTERNALEXCEPTION", "Internal error", 500, 0, true},
	{v3 + "VALIDATION_REQUESTVALIDATIONEXCEPTION", "Error validating request object", 400, 0, false},
}

const v3 = "BITRIX_REST_V3_EXCEPTION_"

// findCode looks a code up without case; those of REST 3.0 also by their ending.
func findCode(name string) (code, bool) {
	for _, c := range codes {
		if strings.EqualFold(c.name, name) || strings.EqualFold(strings.TrimPrefix(c.name, v3), name) {
			return c, true
		}
	}
	return code{}, false
}

// fail makes the failure of a code as the source sends it. The code must be in
// the table.
func fail(name string) *failure {
	c, ok := findCode(name)
	if !ok {
		panic("b24sim: no such code: " + name)
	}
	return c.failure()
}

func (c code) failure() *failure {
	f := &failure{code: c.name, text: c.text, status: c.sent}
	if f.status == 0 {
		f.status = c.documented
	}
	f.object = strings.HasPrefix(c.name, v3)
	return f
}

// invalid is REST 3.0's answer to a request that does not validate.
func invalid(field, message string) *failure {
	f := fail("VALIDATION_REQUESTVALIDATIONEXCEPTION")
	f.extra = object("validation", list(object("message", message, "field", field)))
	return f
}

// forVersion tells f as a version of the API does: in REST 3.0 all failures of
// authorization collapse into one code; what a gateway refuses stays flat.
func (f *failure) forVersion(version int) *failure {
	if version != 3 || f.object {
		return f
	}
	switch {
	case f.code == "ERROR_METHOD_NOT_FOUND":
		return fail("METHODNOTFOUNDEXCEPTION")
	case f.code == "INTERNAL_SERVER_ERROR":
		return fail("INTERNAL_INTERNALEXCEPTION")
	case f.status == 401:
		return fail("ACCESSDENIEDEXCEPTION")
	}
	return f
}

// body is f as an answer without the status.
func (f *failure) body() *array {
	if f.object {
		inner := object("code", f.code, "message", f.text)
		inner.merge(f.extra)
		return object("error", inner)
	}
	a := object("error", f.code, "error_description", f.text)
	a.merge(f.extra)
	return a
}

package b24sim

import (
	"encoding/json"
	"strings"
)

// failure is an error of the API.
type failure struct {
	code   any // a word; faults also send numbers, null and others
	text   string
	status int
	extra  *array // more keys beside error
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

// The codes that the portal sends without a fault.
const (
	codeInternal           = "INTERNAL_SERVER_ERROR"
	codeQueryLimit         = "QUERY_LIMIT_EXCEEDED"
	codeOperatingTime      = "OPERATION_TIME_LIMIT"
	codeBatchMethod        = "ERROR_BATCH_METHOD_NOT_ALLOWED"
	codeBatchLength        = "ERROR_BATCH_LENGTH_EXCEEDED"
	codeNoAuth             = "NO_AUTH_FOUND"
	codeInvalidCredentials = "INVALID_CREDENTIALS"
	codeExpiredToken       = "expired_token"
	codeMethodNotFound     = "ERROR_METHOD_NOT_FOUND"

	// Codes of REST 3.0 begin so.
	v3                   = "BITRIX_REST_V3_EXCEPTION_"
	codeV3AccessDenied   = v3 + "ACCESSDENIEDEXCEPTION"
	codeV3MethodNotFound = v3 + "METHODNOTFOUNDEXCEPTION"
	codeV3Internal       = v3 + "INTERNAL_INTERNALEXCEPTION"
	codeV3Validation     = v3 + "VALIDATION_REQUESTVALIDATIONEXCEPTION"
)

// codes are the system errors with both statuses (see the README of
// proxy/bitrix24): first those of the documentation, then those read in the
// server's source, then those of REST 3.0. The table is not that of
// proxy/bitrix24, so that the simulator cannot share a mistake with the proxy.
var codes = []code{
	{codeInternal, "Internal server error", 500, 0, true},
	{"ERROR_UNEXPECTED_ANSWER", "Server returned an unexpected response", 500, 0, true},
	{codeQueryLimit, "Too many requests", 503, 0, false},
	{codeOperatingTime, "Method is blocked due to operation time limit.", 429, 0, false},
	{codeBatchMethod, "Method is not allowed for batch usage", 405, 0, false},
	{codeBatchLength, "Max batch length exceeded", 400, 0, false},
	{codeNoAuth, "Wrong authorization data", 401, 0, false},
	{"INVALID_REQUEST", "Https required", 400, 401, false},
	{"OVERLOAD_LIMIT", "REST API is blocked due to overload.", 503, 401, false},
	{"ACCESS_DENIED", "REST is available only by subscription.", 403, 401, false},
	{codeInvalidCredentials, "Invalid request credentials", 403, 401, false},
	{"ERROR_MANIFEST_IS_NOT_AVAILABLE", "Manifest is not available", 404, 0, false},
	{"insufficient_scope", "The request requires higher privileges than provided by the webhook token", 403, 401, false},
	{codeExpiredToken, "The access token provided has expired", 401, 0, false},
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
	{codeMethodNotFound, "Method not found!", 404, 0, false},
	{"METHOD_CONFIRM_WAITING", "Waiting for confirmation", 401, 0, false},
	{"METHOD_CONFIRM_DENIED", "Method call denied", 403, 0, false},
	{"WRONG_AUTH_TYPE", "Current authorization type is denied for this method", 403, 0, false},
	{"WRONG_LICENSE", "Method is not available on this plan", 403, 0, false},
	{"allowed_only_intranet_user", "Allowed only intranet user", 403, 0, false},
	{"INTERNAL_WRONG_TRANSPORT", "Wrong transport", 500, 0, false},
	{"INTERNAL_WRONG_HANDLER_CLASS", "Wrong handler class", 500, 0, false},
	{"WRONG_ENCODING", "Wrong request encoding", 200, 0, true},

	{v3 + "RATELIMITEXCEPTION", "Rate limit exceeded", 429, 0, false},
	{codeV3AccessDenied, "Access denied", 401, 0, false},
	{codeV3MethodNotFound, "Method not found", 404, 0, false},
	{codeV3Internal, "Internal error", 500, 0, true},
	{codeV3Validation, "Error validating request object", 400, 0, false},
}

// findCode looks up a code, in any case; a code of REST 3.0 also by its ending.
func findCode(name string) (code, bool) {
	for _, c := range codes {
		if strings.EqualFold(c.name, name) || strings.EqualFold(strings.TrimPrefix(c.name, v3), name) {
			return c, true
		}
	}
	return code{}, false
}

// fail returns the failure of a code, with the status that the server sends. The
// code must be in the table.
func fail(name string) *failure {
	c, ok := findCode(name)
	if !ok {
		panic("b24sim: unknown code " + name)
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

// invalid is REST 3.0's answer to a request with a wrong field.
func invalid(field, message string) *failure {
	f := fail(codeV3Validation)
	f.extra = object("validation", list(object("message", message, "field", field)))
	return f
}

// forVersion returns f as a version of the API sends it: REST 3.0 has one code
// for all failures of authorization; what a gateway refuses stays flat.
func (f *failure) forVersion(version int) *failure {
	if version != 3 || f.object {
		return f
	}
	switch {
	case f.code == codeMethodNotFound:
		return fail(codeV3MethodNotFound)
	case f.code == codeInternal:
		return fail(codeV3Internal)
	case f.status == 401:
		return fail(codeV3AccessDenied)
	}
	return f
}

// codeless reports whether the code is null, which callers of a batch do not see as
// an error.
func (f *failure) codeless() bool {
	raw, ok := f.code.(json.RawMessage)
	return f.code == nil || ok && string(raw) == "null"
}

// body is the body of the answer.
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

package bitrix24

import (
	"strings"
	"testing"
)

// The documented codes keep their documented statuses.
func TestDocumentedCodes(t *testing.T) {
	documented := map[string]int{
		"INTERNAL_SERVER_ERROR": 500, "ERROR_UNEXPECTED_ANSWER": 500, "QUERY_LIMIT_EXCEEDED": 503,
		"OPERATION_TIME_LIMIT": 429, "ERROR_BATCH_METHOD_NOT_ALLOWED": 405, "ERROR_BATCH_LENGTH_EXCEEDED": 400,
		"NO_AUTH_FOUND": 401, "INVALID_REQUEST": 400, "OVERLOAD_LIMIT": 503, "ACCESS_DENIED": 403,
		"INVALID_CREDENTIALS": 403, "ERROR_MANIFEST_IS_NOT_AVAILABLE": 404, "insufficient_scope": 403,
		"expired_token": 401, "user_access_error": 403, "PORTAL_DELETED": 500,
	}
	if len(documented) != 16 {
		t.Fatalf("%d codes, want 16", len(documented))
	}
	for name, status := range documented {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), "  " + name + "\n"} {
			code := Lookup(Code(spelling))
			if code == nil || string(code.Code) != name || code.Status != status || code.Text == "" {
				t.Errorf("Lookup(%q): got %+v, want %s with %d", spelling, code, name, status)
			}
			if got := Label(Code(spelling)); got != name {
				t.Errorf("Label(%q): got %q, want %q", spelling, got, name)
			}
		}
	}
}

// Each row is complete, is found by its own code, and has a code of its own.
func TestTableIsSound(t *testing.T) {
	seen := make(map[string]bool)
	for _, code := range SystemErrors() {
		if seen[strings.ToLower(string(code.Code))] {
			t.Errorf("%s has two rows", code.Code)
		}
		seen[strings.ToLower(string(code.Code))] = true
		if found := Lookup(code.Code); found == nil || *found != code {
			t.Errorf("Lookup(%s): got %+v, want its row", code.Code, found)
		}
		if code.Text == "" || code.Category == "" || code.Status < 400 || code.Status > 599 {
			t.Errorf("got the incomplete row %+v", code)
		}
	}
}

// A code says whether the call ran.
func TestRan(t *testing.T) {
	for name, want := range map[Code]Ran{
		"QUERY_LIMIT_EXCEEDED": RanNo, "OPERATION_TIME_LIMIT": RanNo, "expired_token": RanNo,
		"INTERNAL_SERVER_ERROR": RanUnknown, "ERROR_UNEXPECTED_ANSWER": RanUnknown,
		"BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION": RanUnknown, "WRONG_ENCODING": RanYes,
	} {
		if got := Lookup(name).Ran; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// Codes of version 3 are found by their endings, whatever their namespaces.
func TestLookupVersion3(t *testing.T) {
	tests := map[Code]string{
		"BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION":                                     "BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION",
		"bitrix_rest_v3_realisation_exception_ratelimitexception":                         "BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION",
		"BITRIX_REST_V3_INTERNAL_INTERNALEXCEPTION":                                       "BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION",
		"BITRIX_REST_V3_EXCEPTION_NORATELIMITEXCEPTION":                                   "other",
		"RATELIMITEXCEPTION":                                                              "other",
		"BITRIX_REST_V3_EXCEPTION_ENTITYNOTFOUNDEXCEPTION":                                "other",
		"BITRIX_REST_V3_" + Code(strings.Repeat("X", maxCode-34)) + "_RATELIMITEXCEPTION": "BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION",
		"BITRIX_REST_V3_" + Code(strings.Repeat("X", maxCode-33)) + "_RATELIMITEXCEPTION": "other",
		"BITRIX_REST_V3_" + Code(strings.Repeat("X", 1<<20)) + "_RATELIMITEXCEPTION":      "other",
	}
	for code, want := range tests {
		if got := Label(code); got != want {
			t.Errorf("Label(%.60s): got %q, want %q", code, got, want)
		}
	}
}

// A label is one of a few words, whatever a portal sends.
func TestLabelIsBounded(t *testing.T) {
	for code, want := range map[Code]string{
		"": "empty", " \t": "empty", "0": "numeric", "200040300020": "numeric",
		"ERROR_CORE": "other", "-": "other", "1a": "other", "ACCESS DENIED": "other",
	} {
		if got := Label(code); got != want {
			t.Errorf("Label(%q): got %q, want %q", code, got, want)
		}
	}
}

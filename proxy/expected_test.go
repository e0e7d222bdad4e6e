package proxy

import (
	"fmt"
	"testing"

	"b24proxy/metrics"
)

// The errors that are expected of each portal are few, and no error of a caller is
// among them.
func TestExpectedErrors(t *testing.T) {
	got := expectedErrors()
	for source, want := range map[metrics.Source]string{
		metrics.FromPortal: "[INTERNAL_SERVER_ERROR ERROR_UNEXPECTED_ANSWER QUERY_LIMIT_EXCEEDED OPERATION_TIME_LIMIT OVERLOAD_LIMIT PORTAL_DELETED" +
			" INTERNAL_WRONG_TRANSPORT INTERNAL_WRONG_HANDLER_CLASS BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION PORTAL_UNREACHABLE]",
		metrics.FromNetwork: "[PORTAL_UNREACHABLE ERROR_UNEXPECTED_ANSWER]",
		metrics.FromProxy:   "[QUERY_LIMIT_EXCEEDED OPERATION_TIME_LIMIT OVERLOAD_LIMIT ERROR_UNEXPECTED_ANSWER REQUEST_NOT_KEPT]",
	} {
		if codes := fmt.Sprint(got.Errors[source]); codes != want {
			t.Errorf("source %s: got %s, want %s", source, codes, want)
		}
	}
	if len(got.Errors) != 3 {
		t.Errorf("got errors of %d sources, want 3", len(got.Errors))
	}
	if reasons := fmt.Sprint(got.Reasons); reasons != "[queue_full queue_wait overload operating_time draining]" {
		t.Errorf("got the reasons %s, want the limiter's", reasons)
	}
}

package bitrix24

// Reason says in a word why a call failed, as the member reason of ErrorInfo.
// The reason of a SystemError is the category of its code, that of a request
// which cannot be sent is its code in lower case, and that of a call which the
// limiter refused is the limiter's.
type Reason string

// What came in the place of an answer.
const (
	ReasonHTML      Reason = "html"
	ReasonEmpty     Reason = "empty"
	ReasonTruncated Reason = "truncated"
	ReasonNotJSON   Reason = "not_json" // also JSON with a status of 5xx that names no error
	ReasonRedirect  Reason = "redirect" // to another page
	ReasonTimeout   Reason = "timeout"  // nothing, for too long
	ReasonReset     Reason = "reset"    // nothing, before the connection broke
)

// Why a portal was not reached.
const (
	ReasonUnreachable  Reason = "unreachable"
	ReasonRedirectLoop Reason = "redirect_loop"
)

package operator

import (
	"fmt"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// A failure is why a call failed.
type failure struct {
	code   string
	source metrics.Source
	reason bitrix24.Reason
	status int
}

// String says whose failure it is: the proxy's queue refuses calls with a code that
// portals use too.
func (f failure) String() string {
	switch from := f.source; {
	case f.reason == ReasonStatus:
		return fmt.Sprintf("status %d from the portal", f.status)
	case from == metrics.FromProxy && (f.reason == bitrix24.Reason(limiter.QueueFull) || f.reason == bitrix24.Reason(limiter.QueueWait)):
		return fmt.Sprintf("%s from the proxy's own queue (%s)", f.code, f.reason)
	default:
		return fmt.Sprintf("%s from the %s (%s)", f.code, from, f.reason)
	}
}

// unreachable says for how long a portal could not be reached, and why. The zero
// value means that it can be reached.
type unreachable struct {
	since time.Duration
	cause string
}

func (u unreachable) is() bool { return u.cause != "" }

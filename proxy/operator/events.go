package operator

import (
	"net/netip"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// An Event is what happened to a call. It is a plain value, which holds all that
// operators may want to know of it: metrics, history and log each take their
// part.
type Event interface{ about() Call }

// A Call is a client's call, as far as it is known when something happens to it.
type Call struct {
	RequestID  string
	Portal     string // "" if it named none that is allowed
	Client     string // whose share of the slots it takes
	HTTPMethod string // as the client wrote it
	API        bitrix24.Call
}

func (c Call) about() Call { return c }

// CallEnded says that the client has its answer, or will get none.
type CallEnded struct {
	Call
	Outcome    metrics.Outcome
	Status     int             // that the client got; 0: none
	Code       bitrix24.Code   // of the error that it ended with, as its sender spelt it
	IsError    bool            // it ended with an error, whose code may be empty
	Source     metrics.Source  // where that arose
	Reason     bitrix24.Reason // why it failed
	Executed   bitrix24.Ran    // all attempts considered
	Attempts   int             // sent to the portal
	TakenAlong int             // of them, with the slot of another call
	Took       time.Duration   // all in all

	Urgency   int
	Queued    time.Duration   // spent waiting for slots
	Estimated time.Duration   // that it would have waited, if the limit were enforced
	GotSlot   bool            // or would have got one
	LeftQueue bool            // the caller left while it waited for a slot
	Rejection bitrix24.Reason // why it got no slot, or would have got none; "" if it got one

	PortalTime   time.Duration // spent waiting for the portal's answers
	PortalStatus int           // of the portal's answer, if that was an error; else 0

	// If the caller did not get the whole answer of the portal:
	Lost            bool   // it did not
	Error           string // what happened instead, for the log
	RetryAfter      int    // seconds, as the caller read; 0: none
	RequestedPortal string // the host that it named and may not call

	IsReported bool // another event says why it failed
}

// wait is how long the call waited for slots, or would have.
func (e CallEnded) wait() time.Duration { return e.Queued + e.Estimated }

// CallSentAgain says that an attempt failed and another one begins.
type CallSentAgain struct {
	Call
	Reason   bitrix24.Reason // why
	Status   int             // of the last attempt's answer; 0: it had none
	Code     bitrix24.Code   // of its error
	IsError  bool            // it was answered with an error, whose code may be empty
	Executed bitrix24.Ran    // all attempts considered
	Attempts int             // until now
}

// RepeatSeen says that a call repeats one whose result nobody received, or has its
// Idempotency-Key. With metrics.Evicted it says that what was remembered of a call had
// to go before its time, and only the portal is known.
type RepeatSeen struct {
	Call
	Result    metrics.Replay
	FirstID   string    // of the request that it repeats
	FirstSent time.Time // to the portal
	Became    string    // of the first, in a word; "" if it is under way or was answered
	IsSent    bool      // in spite of that, since the proxy observes
}

// AttemptBegan and AttemptEnded say that an attempt is sent to its portal, and
// that nothing of it is under way any more. Each attempt has one of each.
type (
	AttemptBegan struct{ Call }
	AttemptEnded struct {
		Call
		Status int // of the portal's answer; 0: there was none
		Took   time.Duration
	}
)

// Joined says that reads of several calls are sent in one batch, which the proxy makes.
type Joined struct {
	Call
	Reads int
}

// SentAlone says that a read that could have been in a batch is sent alone.
type SentAlone struct {
	Call
	Reason bitrix24.Reason
}

// Reasons that an event may have beside those that callers read: the answers to
// these calls have no "proxy" object.
const (
	ReasonMethodError bitrix24.Reason = "method_error" // the method answered with an error of its own
	ReasonClientLeft  bitrix24.Reason = "client_left"
	ReasonStatus      bitrix24.Reason = "status" // 5xx, of an answer that is not looked into
)

// PortalReached and PortalUnreachable say what an attempt shows of its portal.
// Each attempt has one of the two.
type (
	PortalReached     struct{ Call }
	PortalUnreachable struct {
		Call
		Cause string // in a few words
		Error string // all that the log may say of it
	}
)

// PortalMoved says that a portal has another name now.
type PortalMoved struct {
	Call
	To string
}

// ErrorSeen says that an answer was an error, or had one inside, or that an error
// was made here. Each attempt may have one, also an attempt that is repeated.
type ErrorSeen struct {
	Call
	Source metrics.Source
	Code   bitrix24.Code // as its sender spelled it
	IsOurs bool          // the code is one of the proxy's own
}

// ClientsRefused says that requests came from an address without a valid key, since
// the event before. The call is the last one.
type ClientsRefused struct {
	Call
	Address  netip.Addr
	Tried    bool // the last one had a key
	Requests int
}

// TunnelOpened says that a client has a tunnel to a host, by the call, which is a
// CONNECT.
type TunnelOpened struct {
	Call
	Host string
}

// TunnelEnded says that a tunnel ended whose bytes the proxy does not read.
type TunnelEnded struct {
	Call
	Host           string
	Sent, Received int64 // bytes to the host and from it
	Took           time.Duration
}

// Panicked says that a fault of the proxy ended a call.
type Panicked struct {
	Call
	Cause any
	Stack []byte
}

package metrics

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Label values that stand for others.
const (
	None  = "none"  // a call that named no portal; an attempt without an answer
	Other = "other" // whatever lies outside a label's bound
)

// An Outcome is how a client's call ended.
type Outcome string

const (
	OK          Outcome = "ok"           // the portal's success
	PortalError Outcome = "portal_error" // a system error of the portal, or no answer of the API
	MethodError Outcome = "method_error" // an error of the method called
	Rejected    Outcome = "rejected"     // answered by the proxy, nothing sent
	Unreachable Outcome = "unreachable"  // no connection to the portal, nothing sent
	Abandoned   Outcome = "abandoned"    // the client hung up
)

// A Source is where an error arose.
type Source string

const (
	FromPortal  Source = "portal"  // the portal's answer
	FromBatch   Source = "batch"   // a command inside a batch's answer
	FromNetwork Source = "network" // no answer, or a broken one
	FromProxy   Source = "proxy"   // made by the proxy
)

// A Priority groups the urgencies of waiting calls. It is the index of
// [Portal.Depth].
type Priority int

const (
	High Priority = iota
	Normal
	Low
)

var priorities = [...]string{High: "high", Normal: "normal", Low: "low"}

func (p Priority) String() string { return priorities[p] }

// PriorityOf is the priority of an urgency of RFC 9218, where 0 is the most
// urgent and 3 is the default.
func PriorityOf(urgency int) Priority {
	switch {
	case urgency < 3:
		return High
	case urgency == 3:
		return Normal
	default:
		return Low
	}
}

func (o Outcome) label() string {
	switch o {
	case OK, PortalError, MethodError, Rejected, Unreachable, Abandoned:
		return string(o)
	}
	return Other
}

func (s Source) label() string {
	switch s {
	case FromPortal, FromBatch, FromNetwork, FromProxy:
		return string(s)
	}
	return Other
}

// statusClass counts a status from 600 on, which no standard knows, as a
// server's error (RFC 9110, section 15).
func statusClass(status int) string {
	switch {
	case status >= 500:
		return "5xx"
	case status >= 400:
		return "4xx"
	case status >= 300:
		return "3xx"
	case status >= 200:
		return "2xx"
	}
	return None
}

// Codes and reasons come from tables of the program. These bounds are above the
// sizes of the tables, in case anything else ever becomes a label.
const (
	maxCodes   = 100
	maxReasons = 50
)

// maxName is the longest label value in bytes, which is that of a host name.
const maxName = 253

// names makes the first distinct values labels and calls later ones Other. It
// forgets none, because a counter must not change its labels.
type names struct {
	mu    sync.RWMutex
	max   int
	known map[string]string // each value to a copy that shares no memory with a request
}

func newNames(limit int) *names {
	return &names{max: limit, known: make(map[string]string)}
}

func (n *names) label(value string) string {
	n.mu.RLock()
	label, ok := n.known[value]
	n.mu.RUnlock()
	if ok {
		return label
	}
	if !isLabel(value) {
		return Other
	}
	return n.add(value)
}

func (n *names) add(value string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if label, ok := n.known[value]; ok {
		return label
	}
	if len(n.known) >= n.max {
		return Other
	}
	value = strings.Clone(value)
	n.known[value] = value
	return value
}

// isLabel reports whether a value can be a label.
func isLabel(value string) bool {
	return value != "" && len(value) <= maxName && utf8.ValidString(value)
}

// Package joining lets reads that wait for slots travel together: Bitrix24 counts
// requests, and one batch carries fifty calls (proxy/bitrix24/README.md#batch-of-version-2).
// It is pure: it makes one batch of calls, and the answers of the calls of that of the
// batch. It does no I/O and has no clock.
//
// Each call must get the answer that it would have got alone. What cannot be shown to be
// the same is sent alone, and a Reason says why:
//   - eligible.go finds out whether a call may travel, and how its credential is carried;
//   - query.go and object.go read its parameters, filter.go knows which texts the portal
//     may change;
//   - encode.go writes the batch, split.go takes its answer apart;
//   - pace.go says how many reads travel together, misfits.go which are sent alone for a while.
package joining

import "fmt"

// MaxReads is how many commands a batch may have
// (proxy/bitrix24/README.md#batch-of-version-2).
const MaxReads = 50

// A Read is a call that may travel with others. It holds a secret, and prints none.
type Read struct {
	// Group is the same for the reads that may travel together. It is a hash, since it
	// depends on the credential.
	Group string

	// Method is the method's name in lower case.
	Method string

	command string // method?query, with the method as the client wrote it
	carrier carrier
}

// A carrier is what the reads of a group have in common: the address of their batch, and
// their credential where the body carries it.
type carrier struct {
	path      string
	query     string // a token, as the client wrote it, or ""
	tokenName string // of the token in the body, or ""
	token     string
}

func (r Read) String() string { return "read " + r.Method }

// Format hides what String does not show.
func (r Read) Format(s fmt.State, _ rune) { fmt.Fprint(s, r.String()) }

// A Reason says why a read is sent alone. It is a label of a metric.
type Reason string

// Why a read does not enter a batch.
const (
	Unwanted   Reason = "unwanted"   // its client does not want it to
	Verb       Reason = "verb"       // the request is neither a GET nor a POST, or is a GET with a body
	Method     Reason = "method"     // the method does something else within a batch
	Format     Reason = "format"     // the answer is not JSON of version 2
	Header     Reason = "header"     // the answer depends on a header that a batch cannot have
	Credential Reason = "credential" // the call has none, or more than one
	Body       Reason = "body"       // the body is neither a form nor JSON, or cannot be read
	Name       Reason = "name"       // a parameter has a name that is read differently within a batch
	Value      Reason = "value"      // a value cannot be written in a query
	Text       Reason = "text"       // the portal would replace something in a text
	Overlap    Reason = "overlap"    // the query and the body have a parameter in common
	Size       Reason = "size"       // the parameters are too many, too deep or too long
	Slow       Reason = "slow"       // the method takes too long
	Misfit     Reason = "misfit"     // the method or the credential failed too often within a batch
)

// Why a read is sent alone after it was in a batch.
const (
	Error   Reason = "error"   // it failed; the portal words an error differently there
	Missing Reason = "missing" // its result is missing
	Unclear Reason = "unclear" // the answer of the batch cannot be taken apart
	Failed  Reason = "failed"  // the batch failed as a whole
	Lost    Reason = "lost"    // the batch has no answer
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{
		Unwanted, Verb, Method, Format, Header, Credential, Body, Name, Value, Text, Overlap, Size, Slow, Misfit,
		Error, Missing, Unclear, Failed, Lost,
	}
}

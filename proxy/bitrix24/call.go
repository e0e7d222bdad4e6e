package bitrix24

import (
	"iter"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxMethod is the longest name in bytes that is accepted as a method's. The
// longest documented one has 61.
const maxMethod = 128

// Call is what the address of a request says, before its body is read. It holds
// no secret: it keeps the ID of a webhook, as a Credential does, and not the code.
type Call struct {
	// Version is the generation of the API, 2 or 3, or 0 if the address is not
	// below /rest/.
	Version int

	// Method is the method's name in lower case, without slashes and without
	// the .json or .xml of version 2. It is "" if there is none, if servers may
	// read the path in two ways, or if the client sent something that does not
	// look like a method ([a-z0-9_.], at most 128 bytes). Names come from the
	// network and become map keys, labels and parts of log lines, so they must be
	// short, and must not be a webhook code in the wrong place.
	Method string

	// XML says that the client wants XML: it appended the .xml of version 2.
	XML bool

	// Webhook says that the address itself carries the credential.
	Webhook bool

	webhook string // ID of the webhook, see Credential
}

// ParseCall reads a path as the client sent it, perhaps with doubled slashes and
// a trailing one (README.md#addresses). A path with the login "api" is read as
// one of version 3, as the portal reads it.
//
// If servers may read the path in two ways, nobody knows which method runs, so
// the call has none.
func ParseCall(path string) Call {
	segments := strings.FieldsFunc(path, isSlash)
	if isPlain(segments) {
		return parse(segments)
	}
	c := parse(splitPath(path))
	c.Method = ""
	if c.Version == 0 && slices.ContainsFunc(strings.FieldsFunc(unescapePath(path), isSlash), isRest) {
		c.Version = 2
	}
	return c
}

// parse reads the segments of a path without decoding them.
func parse(segments []string) Call {
	if len(segments) == 0 || !isRest(segments[0]) {
		return Call{}
	}
	c := Call{Version: 2}
	segments = segments[1:]
	if len(segments) > 0 && strings.EqualFold(segments[0], "api") {
		c.Version = 3
		segments = segments[1:]
	}
	switch len(segments) {
	case 0:
	case 1:
		c.setMethod(segments[0])
	case 3:
		c.setMethod(segments[2])
		fallthrough
	default: // without a method, or with too many segments, but with the code
		c.Webhook = true
		c.webhook = idOf(CredentialWebhook, unescapePath(segments[0])+"/"+segments[1])
	}
	return c
}

func isRest(segment string) bool { return strings.EqualFold(segment, "rest") }

// setMethod reads the last segment of an address.
func (c *Call) setMethod(segment string) {
	name := withoutFormat(segment)
	if c.Version == 3 && name != segment { // version 3 does not have .json and .xml
		return
	}
	c.XML = strings.EqualFold(segment[len(name):], ".xml")
	if looksLikeMethod(name) {
		c.Method = strings.ToLower(name)
	}
}

// withoutFormat removes the .json or .xml of version 2.
func withoutFormat(segment string) string {
	switch format := path.Ext(segment); strings.ToLower(format) {
	case ".json", ".xml":
		return strings.TrimSuffix(segment, format)
	}
	return segment
}

// Batch reports whether the call contains other calls.
func (c Call) Batch() bool { return c.Method == "batch" }

// mayBeBatch3 reports whether the call is, or may be, a batch of version 3: one
// whose address is not understood may be.
func (c Call) mayBeBatch3() bool { return c.Method == "" || c.Version == 3 && c.Batch() }

// REST reports whether the address is below /rest/, so that the call counts
// against the portal's rate limit (README.md#rate-limit).
func (c Call) REST() bool { return c.Version != 0 }

// String returns the version and the method for a log, such as
// "v2 crm.deal.list". It has at most 131 bytes and never contains a secret.
func (c Call) String() string {
	method := c.Method
	if method == "" {
		method = "-"
	}
	switch c.Version {
	case 2:
		return "v2 " + method
	case 3:
		return "v3 " + method
	}
	return "-"
}

// MarshalText makes a JSON log show a Call as a text log does.
func (c Call) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// looksLikeMethod reports whether s may be a method's name: letters, digits, dots
// and underscores. A name without a dot, such as batch or profile, has at most 15
// letters and no digit; anything else may be a webhook code in the wrong place.
func looksLikeMethod(s string) bool {
	if s == "" || len(s) > maxMethod {
		return false
	}
	dot, digit := false, false
	for i := range len(s) {
		switch b := s[i]; {
		case b == '.':
			dot = true
		case '0' <= b && b <= '9':
			digit = true
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', b == '_':
		default:
			return false
		}
	}
	return dot || !digit && len(s) <= 15
}

// parameters yields the names and values of a query or a form. A part that cannot
// be decoded is yielded unchanged, since PHP reads it and net/url does not.
func parameters(encoded string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for part := range strings.SplitSeq(encoded, "&") {
			name, value, _ := strings.Cut(part, "=")
			if part != "" && !yield(unescape(name), unescape(value)) {
				return
			}
		}
	}
}

func unescape(s string) string {
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}

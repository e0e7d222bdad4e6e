package bitrix24

import (
	"iter"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxMethod is the longest method name in bytes that is believed. The longest
// documented one has 61.
const maxMethod = 128

// Call is what an address says of a request, before its body is read. It holds
// no secret: of a webhook it keeps the ID that a Credential shows, not the code.
type Call struct {
	// Version is the generation of the API: 2 or 3, and 0 where the address is
	// not below /rest/.
	Version int

	// Method is the method's name in lower case, without slashes and without
	// the .json or .xml of version 2. It is "" where there is none, where
	// servers may read the path in two ways, and where the client sent what
	// does not look like a method ([a-z0-9_.], at most 128 bytes): names come
	// from the network, and a log, a label or a map key made of them must stay
	// small and must not be a misplaced webhook code.
	Method string

	// XML says that the answer is XML: the .xml of version 2.
	XML bool

	// Webhook says that the address itself carries the credential.
	Webhook bool

	webhook string // ID of the webhook, see Credential
}

// ParseCall reads a path as the client sent it, perhaps with doubled slashes and
// a trailing one.
//
// The addresses are /rest/<method> and /rest/<user>/<code>/<method>, and both
// of them below /rest/api/ for version 3 [D]. <user> may be a login; a login
// "api" cannot be told from version 3, and the portal reads it as version 3 too.
//
// Which method runs where servers may read the path in two ways is not known,
// so such a call has none.
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

// parse reads the segments of a path as they stand.
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
	default: // too short or too long for a method, yet the code is there
		c.Webhook = true
		c.webhook = idOf("webhook", unescapePath(segments[0])+"/"+segments[1])
	}
	return c
}

func isRest(segment string) bool { return strings.EqualFold(segment, "rest") }

// setMethod takes the last segment of an address apart.
func (c *Call) setMethod(segment string) {
	name := withoutFormat(segment)
	if c.Version == 3 && name != segment { // version 3 knows no .json and .xml
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

// Batch tells whether the call carries other calls inside.
func (c Call) Batch() bool { return c.Method == "batch" }

// mayBeBatch3 reports whether the call is a batch of version 3, or may be one by
// an address that is not understood.
func (c Call) mayBeBatch3() bool { return c.Method == "" || c.Version == 3 && c.Batch() }

// REST tells whether the address is below /rest/, so that the call counts
// against the portal's rate limit. Whether signed file addresses count is not
// documented; they are taken to.
func (c Call) REST() bool { return c.Version != 0 }

// String names the call for a log: version and method, such as
// "v2 crm.deal.list". It has at most 131 bytes and never holds a secret.
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

// MarshalText makes a Call one word in a log of JSON too.
func (c Call) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// looksLikeMethod tells whether s may be a method's name: letters, digits,
// dots and underscores. A name without a dot, such as batch or profile, has at
// most 15 letters; anything longer, or with a digit, may be a webhook code
// that stands where the method should.
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

// parameters yields the names and values of a query or a form. Parts that do
// not decode are yielded as they stand: PHP reads them where net/url gives up.
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

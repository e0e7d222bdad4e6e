package joining

import (
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strings"

	"b24proxy/proxy/bitrix24"
)

// A Request is a call as it is sent to its portal.
type Request struct {
	Verb   string
	Call   bitrix24.Call
	Path   string // raw
	Query  string // raw, without its question mark
	Header http.Header
	Body   []byte
}

// Prepare returns the read that a request becomes within a batch, or the reason why it
// is sent alone. The call of the request must be a read.
func Prepare(r Request) (Read, Reason) {
	if reason := misfit(r); reason != "" {
		return Read{}, reason
	}
	p, reason := parameters(r)
	if reason != "" {
		return Read{}, reason
	}
	path, method := batchPath(r.Path)
	c := carrier{path: path}
	if reason := c.carry(p, r); reason != "" {
		return Read{}, reason
	}
	command := method + "?" + strings.Join(p.encoded, "&")
	if len(command) > maxCommand {
		return Read{}, Size
	}
	return Read{Group: c.group(r.Header), Method: r.Call.Method, command: command, carrier: c}, ""
}

// maxCommand bounds a command in bytes. So a batch has at most 3 MiB.
const maxCommand = 64 << 10

// misfit says what prevents a call from travelling, beside its parameters.
func misfit(r Request) Reason {
	switch {
	case r.Call.Version != 2 || r.Call.XML:
		return Format
	case !r.Call.Read() || isSingular(r.Call.Method):
		return Method
	case r.Verb != http.MethodPost && !(r.Verb == http.MethodGet && len(r.Body) == 0):
		return Verb
	case hasSingularHeader(r.Header):
		return Header
	}
	return ""
}

// isSingular reports whether a read has another answer within a batch
// (proxy/bitrix24/README.md#batch-of-version-2): some are signed only outside, and those
// of tasks in their old form take their parameters by position.
func isSingular(method string) bool {
	return slices.Contains([]string{"app.info", "profile", "user.current"}, method) || strings.HasPrefix(method, "task.")
}

// hasSingularHeader reports whether a request asks for something that concerns it alone.
func hasSingularHeader(h http.Header) bool {
	for name := range h {
		name = strings.ToLower(name)
		if name == "cookie" || name == "range" || name == "content-encoding" || strings.HasPrefix(name, "if-") || strings.HasPrefix(name, "x-http-method") {
			return true
		}
	}
	return false
}

// batchPath returns the address of a batch with the credential of the given address, and
// the method as that has it.
func batchPath(path string) (batch, method string) {
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	last := len(segments) - 1
	method = segments[last]
	if strings.HasSuffix(strings.ToLower(method), ".json") {
		method = method[:len(method)-len(".json")]
	}
	segments[last] = "batch"
	return "/" + strings.Join(segments, "/"), method
}

// carry finds out where the credential is: in the path, in a header, in the query or in
// the body. The batch carries it in the same place, since addresses of files hold it as
// it was sent (proxy/bitrix24/README.md#batch-of-version-2).
func (c *carrier) carry(p params, r Request) Reason {
	places := len(p.tokens)
	if r.Call.Webhook {
		places++
	}
	if r.Header.Get("Authorization") != "" {
		places++
	}
	if places != 1 || len(r.Header["Authorization"]) > 1 {
		return Credential
	}
	for _, t := range p.tokens {
		if t.inBody {
			c.tokenName, c.token = t.name, t.value
		} else {
			c.query = t.raw
		}
	}
	return ""
}

// group returns the name of the group: a hash over the carrier and the headers.
func (c *carrier) group(h http.Header) string {
	sum := sha256.New()
	add := func(s string) { io.WriteString(sum, s); sum.Write([]byte{0}) }
	for _, s := range []string{c.path, c.query, c.tokenName, c.token} {
		add(s)
	}
	names := make([]string, 0, len(h))
	for name := range h {
		if !isOwn(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		add(name)
		for _, value := range h[name] {
			add(value)
		}
	}
	return string(sum.Sum(nil))
}

// ownHeaders are the headers that may differ between the reads of a batch: they describe
// one request and do not change its answer.
var ownHeaders = []string{
	"accept", "accept-encoding", "content-length", "content-type", "user-agent", "prefer",
	"x-request-id", "traceparent", "tracestate", "baggage", "b3", "sentry-trace", "referer", "cache-control", "pragma",
}

func isOwn(header string) bool {
	name := strings.ToLower(header)
	return slices.Contains(ownHeaders, name) || strings.HasPrefix(name, "x-b3-")
}

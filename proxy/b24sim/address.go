package b24sim

import "strings"

// address is what the path of a request names.
type address struct {
	rest    bool // below /rest/: the rate limit counts it
	version int  // 2 or 3
	user    string
	code    string // of a webhook; a secret
	method  string // in lower case; "" when the path names none
	xml     bool   // the caller wants XML
}

// webhook reports whether the address has a user and a code.
func (a address) webhook() bool { return a.code != "" }

// parseAddress reads a path such as /rest/crm.deal.list,
// /rest/1/code/crm.deal.list.json or /rest/api/1/code/tasks.task.get/.
// Empty segments do not count, because clients send // and a slash at the end.
func parseAddress(path string) address {
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(segments) == 0 || segments[0] != "rest" {
		return address{}
	}
	a := address{rest: true, version: 2}
	segments = segments[1:]
	if len(segments) > 0 && segments[0] == "api" {
		a.version = 3
		segments = segments[1:]
	}
	switch len(segments) {
	case 0:
		return a
	case 1:
		a.method = segments[0]
	case 2:
		a.user, a.code = segments[0], segments[1]
	default:
		a.user, a.code = segments[0], segments[1]
		a.method = strings.Join(segments[2:], "/")
	}
	a.method = strings.ToLower(a.method)
	if a.version == 2 {
		a.method = strings.TrimSuffix(a.method, ".json")
		a.method, a.xml = strings.CutSuffix(a.method, ".xml")
	}
	return a
}

package proxy

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"b24proxy/proxy/bitrix24"
)

// requestID takes the caller's X-Request-Id where it may be shown, else makes
// one.
func requestID(h http.Header) string {
	if id := h.Get("X-Request-Id"); mayBeShown(id) {
		return id
	}
	return rand.Text()
}

// clientName is whose share of the slots a call takes: the one in B24-Client
// where it may be shown, else the credential's.
func clientName(h http.Header, c bitrix24.Credential) string {
	if name := h.Get("B24-Client"); mayBeShown(name) {
		return name
	}
	return c.Kind + " " + c.ID
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

// mayBeShown reports whether a name that a caller chose can stand in logs and on
// the status page: it is short and plain, and nothing in it looks like the
// address of a webhook or like a token.
func mayBeShown(name string) bool {
	return plainName.MatchString(name) && !strings.Contains(strings.ToLower(name), "rest/") && bitrix24.Redact(name) == name
}

const defaultUrgency = 3

// urgency reads u of a Priority header (RFC 9218), a dictionary of structured
// fields: the last u counts, and a header that is malformed says nothing.
func urgency(h http.Header) int {
	priority, err := httpsfv.UnmarshalDictionary(h.Values("Priority"))
	if err != nil {
		return defaultUrgency
	}
	member, _ := priority.Get("u")
	item, _ := member.(httpsfv.Item)
	if u, isInteger := item.Value.(int64); isInteger && u >= 0 && u <= 7 {
		return int(u)
	}
	return defaultUrgency
}

// patience reads wait of a Prefer header (RFC 7240), in seconds: the first one
// counts. It can only shorten the longest wait.
func patience(h http.Header, longest time.Duration) time.Duration {
	for _, line := range h.Values("Prefer") {
		for _, preference := range preferences.FindAllString(line, -1) {
			if value, isWait := waitOf(preference); isWait {
				n, err := strconv.ParseUint(value, 10, 31)
				if err != nil {
					return longest
				}
				return min(time.Duration(n)*time.Second, longest)
			}
		}
	}
	return longest
}

// preferences finds the parts of a Prefer header. A comma within a quoted
// string separates nothing.
var preferences = regexp.MustCompile(`(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|$))+`)

// waitOf returns the value of a preference if its name is wait.
func waitOf(preference string) (value string, isWait bool) {
	preference, _, _ = strings.Cut(preference, ";") // of its parameters
	name, value, _ := strings.Cut(preference, "=")
	value = strings.TrimSpace(value)
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return value, strings.EqualFold(strings.TrimSpace(name), "wait")
}

// own are the headers that a client sends to the proxy alone, or that say from
// where a request comes: names in lower case. Expect is settled, since the body
// is here.
var own = setOf("b24-portal", "b24-client", "priority", "connection", "upgrade", "expect", "forwarded", "x-real-ip")

// imitated are the further headers that the proxy reads, replaces or removes.
// They pass under their own names alone.
var imitated = setOf("proxy-connection", "proxy-authenticate", "proxy-authorization", "keep-alive", "transfer-encoding",
	"content-length", "content-type", "content-encoding", "idempotency-key", "x-idempotency-key", "x-request-id")

func setOf(names ...string) map[string]bool {
	set := make(map[string]bool)
	for _, name := range names {
		set[name] = true
	}
	return set
}

// stripOwnHeaders removes what the portal must not see, and sends the id that
// stands in the log instead of one that the caller chose.
func stripOwnHeaders(h http.Header, id string) {
	for name := range h {
		plain := dashed(name)
		if own[plain] || strings.HasPrefix(plain, "x-forwarded") || imitated[plain] && plain != strings.ToLower(name) {
			delete(h, name)
		}
	}
	if _, chosen := h["X-Request-Id"]; chosen {
		h.Set("X-Request-Id", id)
	}
	stripWait(h)
}

// dashed is a header's name as CGI makes it, in lower case and with dashes: a
// portal's PHP takes X_Real_IP and X.Real.IP for X-Real-IP.
func dashed(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// stripWait removes wait from the Prefer headers, and leaves their other
// preferences.
func stripWait(h http.Header) {
	var kept []string
	for _, line := range h.Values("Prefer") {
		var others []string
		all := preferences.FindAllString(line, -1)
		for _, preference := range all {
			if _, isWait := waitOf(preference); !isWait {
				others = append(others, strings.TrimSpace(preference))
			}
		}
		switch {
		case len(others) == len(all):
			kept = append(kept, line)
		case len(others) > 0:
			kept = append(kept, strings.Join(others, ", "))
		}
	}
	h.Del("Prefer")
	if kept != nil {
		h["Prefer"] = kept
	}
}

// allowOrigin lets a page of any origin read an error that the proxy made, as
// the portal lets it read answers.
func allowOrigin(answer, request http.Header) {
	if request.Get("Origin") != "" && answer.Get("Access-Control-Allow-Origin") == "" {
		answer.Set("Access-Control-Allow-Origin", "*")
	}
}

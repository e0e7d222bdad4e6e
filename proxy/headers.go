package proxy

import (
	"net/http"
	"strings"
)

// ownHeaders are the headers that a client sends to the proxy only, or that say where
// a request comes from, in lower case. Expect is one of them, since the proxy has
// read the body already.
var ownHeaders = setOf("b24-portal", "b24-client", "priority", "connection", "upgrade", "expect", "forwarded", "x-real-ip")

// imitatedHeaders are the other headers that the proxy reads, replaces or removes.
// They are passed on under their own names, but not under names that a portal would
// read as these (see cgiName).
var imitatedHeaders = setOf("proxy-connection", "proxy-authenticate", "proxy-authorization", "keep-alive", "transfer-encoding",
	"content-length", "content-type", "content-encoding", "idempotency-key", "x-idempotency-key", "x-request-id")

func setOf(names ...string) map[string]bool {
	set := make(map[string]bool)
	for _, name := range names {
		set[name] = true
	}
	return set
}

// stripOwnHeaders removes what the portal must not see. If the caller chose an
// X-Request-Id, the portal gets the id that the log has.
func stripOwnHeaders(h http.Header, id string) {
	for name := range h {
		if isOfNoConcern(name) {
			continue
		}
		plain := cgiName(name)
		if ownHeaders[plain] || strings.HasPrefix(plain, "x-forwarded") || imitatedHeaders[plain] && !strings.EqualFold(plain, name) {
			delete(h, name)
		}
	}
	if _, chosen := h["X-Request-Id"]; chosen {
		h.Set("X-Request-Id", id)
	}
	stripPreferences(h)
}

// isOfNoConcern reports whether a header is one of those that most requests have, which
// pass.
func isOfNoConcern(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent", "X-Request-Id":
		return true
	}
	return false
}

// cgiName returns the name under which PHP reads a header, in lower case and with
// dashes: through CGI, X_Real_IP and X.Real.IP are the same as X-Real-IP.
func cgiName(name string) string {
	name = strings.ToLower(name)
	if strings.IndexFunc(name, isNotCGI) < 0 {
		return name
	}
	return strings.Map(func(r rune) rune {
		if isNotCGI(r) {
			return '-'
		}
		return r
	}, name)
}

func isNotCGI(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }

// allowOrigin lets a web page of any origin read an error that is made here, as the
// portal lets it read answers.
func allowOrigin(answer, request http.Header) {
	if request.Get("Origin") != "" && answer.Get("Access-Control-Allow-Origin") == "" {
		answer.Set("Access-Control-Allow-Origin", "*")
	}
}

package proxy

import (
	"net/http"
	"strings"
)

// ownHeaders are the headers that a client sends to the proxy alone, or that say from
// where a request comes: names in lower case. Expect is settled, since the body
// is here.
var ownHeaders = setOf("b24-portal", "b24-client", "priority", "connection", "upgrade", "expect", "forwarded", "x-real-ip")

// imitatedHeaders are the further headers that the proxy reads, replaces or removes.
// They pass under their own names alone.
var imitatedHeaders = setOf("proxy-connection", "proxy-authenticate", "proxy-authorization", "keep-alive", "transfer-encoding",
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
		plain := cgiName(name)
		if ownHeaders[plain] || strings.HasPrefix(plain, "x-forwarded") || imitatedHeaders[plain] && plain != strings.ToLower(name) {
			delete(h, name)
		}
	}
	if _, chosen := h["X-Request-Id"]; chosen {
		h.Set("X-Request-Id", id)
	}
	stripWait(h)
}

// cgiName is a header's name as CGI makes it, in lower case and with dashes: a
// portal's PHP takes X_Real_IP and X.Real.IP for X-Real-IP.
func cgiName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// allowOrigin lets a page of any origin read an error that the proxy made, as
// the portal lets it read answers.
func allowOrigin(answer, request http.Header) {
	if request.Get("Origin") != "" && answer.Get("Access-Control-Allow-Origin") == "" {
		answer.Set("Access-Control-Allow-Origin", "*")
	}
}

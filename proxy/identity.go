package proxy

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"strings"

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

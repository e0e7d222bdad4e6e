package proxy

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"strings"

	"b24proxy/proxy/bitrix24"
)

// identify finds out who calls, from the request and as much of its body as is there.
func (ex *exchange) identify(r *http.Request, body []byte) {
	ex.cred = bitrix24.FindCredential(ex.route.call, ex.route.rawQuery(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
	ex.client = clientName(r.Header, ex.cred)
}

// requestID returns the caller's X-Request-Id if it may be shown, and else a new one.
func requestID(h http.Header) string {
	if id := h.Get("X-Request-Id"); mayBeShown(id) {
		return id
	}
	return rand.Text()
}

// clientName returns the client whose share of the slots a call uses: the value of
// B24-Client if it may be shown, and else the credential.
func clientName(h http.Header, c bitrix24.Credential) string {
	if name := h.Get("B24-Client"); mayBeShown(name) {
		return name
	}
	return c.String()
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

	// userAndCode finds what the address of a webhook has behind rest/. It takes only a
	// long word for a code, so that names such as team/7/crm are accepted.
	userAndCode = regexp.MustCompile(`(?:^|/)[0-9]+/+[A-Za-z0-9]{10}`)
)

// mayBeShown reports whether a name that a caller chose may be shown in logs and on
// the status page: it is short and plain, and does not look like a token or the
// address of a webhook.
func mayBeShown(name string) bool {
	return name != "" && plainName.MatchString(name) && !strings.Contains(strings.ToLower(name), "rest/") &&
		!userAndCode.MatchString(name) && bitrix24.Redact(name) == name
}

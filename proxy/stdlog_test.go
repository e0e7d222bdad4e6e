package proxy

import (
	"log/slog"
	"strings"
	"testing"
)

// What the standard library logs shows no bytes of a portal or of a client, and is one
// line at the given level.
func TestStdLogQuotesNothing(t *testing.T) {
	for line, want := range map[string]string{
		`Unsolicited response received on idle HTTP channel starting with "{\"access_token\":\"s3cret\"}"; err=<nil>`: "Unsolicited response received on idle HTTP channel starting with (quoted text is left out)",
		"http: TLS handshake error from 10.0.0.1:5: EOF":                                                              "http: TLS handshake error from 10.0.0.1:5: EOF",
		"http: panic serving\nGET /rest/1/s3cret/x":                                                                   "http: panic serving",
		"lost https://a.bitrix24.com/rest/1/s3cretcode/crm.deal.add":                                                  "lost https://a.bitrix24.com/rest/1/***/crm.deal.add",
	} {
		t.Run(want, func(t *testing.T) {
			var out strings.Builder
			StdLog(debugLog(&out), slog.LevelWarn).Print(line)
			if got := out.String(); !strings.Contains(got, "level=WARN msg=\"net/http: "+want+"\"") || strings.Contains(got, "s3cret") || strings.Count(got, "\n") != 1 {
				t.Errorf("logged %s, want %s", got, want)
			}
		})
	}
}

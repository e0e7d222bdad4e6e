package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// However the settings are printed, by themselves or as those of the proxy, they show
// neither passwords nor keys.
func TestSettingsAreNotPrintedWithSecrets(t *testing.T) {
	s, _, err := readSettings([]string{prefix + "OUTBOUND_PROXY=http://user:s3cret@proxy.example:3128", prefix + "CLIENT_KEYS=shop=s3cret-key-0123456"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, value := range []any{s, &s, s.OutboundProxy, &s.OutboundProxy, s.ClientKeys, &s.ClientKeys, s.config(nil)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
			fmt.Fprintf(&out, verb+"\n", []any{value})
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("", "value", value)
	}
	if found := leaks(out.String()); found != nil || strings.Contains(out.String(), fmt.Sprintf("%x", "s3cret")) {
		t.Errorf("got secrets in %s", found)
	}
	if !strings.Contains(out.String(), "proxy.example:3128") {
		t.Error("got no address of the outbound proxy, want it without its password")
	}
}

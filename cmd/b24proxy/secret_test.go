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
	s, _, err := readSettings([]string{
		prefix + "OUTBOUND_PROXY=http://user:s3cret@proxy.example:3128", prefix + "CLIENT_KEYS=shop=s3cret-key-0123456",
		prefix + "REDIS_URL=redis://user-s3cret:s3cret%2F@redis.example:6379/3?master_name=m&addr=other.example:1&username=s3cret&password=s3cret",
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, value := range []any{s, &s, s.OutboundProxy, &s.OutboundProxy, s.ClientKeys, &s.ClientKeys, s.RedisURL, &s.RedisURL, s.config(nil)} {
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
	for _, address := range []string{"proxy.example:3128", "redis://redis.example:6379/3,other.example:1"} {
		if !strings.Contains(out.String(), address) {
			t.Errorf("got no %s, want it without its password", address)
		}
	}
}

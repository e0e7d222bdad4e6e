package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Whatever the settings are, they are valid or have faults that name them, one in a
// line, and no fault repeats a secret.
func FuzzSettings(f *testing.F) {
	var names []string
	for field := range reflect.TypeFor[settings]().Fields() {
		names = append(names, field.Tag.Get("env"))
	}
	slices.Sort(names)
	secret := []string{"CLIENT_KEYS", "OUTBOUND_PROXY", "REDIS_URL"}
	for i := range names {
		for _, value := range []string{
			"s3cretcode", "crm=s3cretcode0123456789", "http://user:s3cret@proxy.example:3128", "redis://:s3cret@redis.example:6379/0",
			"redis://:s3cret%2F@s3cret?password=s3cret&addr=s3cret", "rediss://s3cret@10.0.0.5:6379?master_name=s3cret", "unix://:s3cret@/run/redis.sock", "office-1", "{s3cret}",
			"https://acme.bitrix24.com/rest/1/s3cretcode/", "acme.bitrix24.com=10.0.0.5:443", "127.0.0.1:0", "*.bitrix24.com,b\u0130trix24.com",
			"2/50", "1h", "100MiB", "true", "a\nb", "\xff", "9223372036854775807GiB", "[::1]:8080", "1e400s",
		} {
			f.Add(uint8(i), value, uint8(i+1), value)
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, value string, j uint8, other string) {
		if strings.Contains(value+other, "\x00") || strings.Contains(value+other, "/dev") || strings.Contains(value+other, "/proc") {
			return // the first is no environment, and the others are files without an end
		}
		name, second := names[int(i)%len(names)], names[int(j)%len(names)]
		s, _, err := readSettings([]string{prefix + name + "=" + value, prefix + second + "=" + other})
		if err == nil {
			s.warnings()
			return
		}
		text := err.Error()
		for line := range strings.SplitSeq(text, "\n") {
			if setting, _, found := strings.Cut(line, ": "); !found || !slices.Contains(names, strings.TrimPrefix(setting, prefix)) {
				t.Errorf("got the line %q in %q, want the name of a setting first", line, text)
			}
		}
		if slices.Contains(secret, name) && slices.Contains(secret, second) && strings.Contains(text, "s3cret") {
			t.Errorf("got %q, want no secret", text)
		}
	})
}

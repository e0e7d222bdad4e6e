package main

import (
	"cmp"
	"strings"
	"testing"
)

// -check warns of settings that are valid but probably wrong, with the variable
// and a reason, and exits with 0.
func TestWarnings(t *testing.T) {
	certFile, keyFile := writeOwn(t, t.TempDir(), "proxy.example.org")
	for _, c := range []struct {
		environ string
		want    string // "VARIABLE: … words", "" for no warning
	}{
		{"PLAN=50/2", "PLAN: do you mean 2/50?"},
		{"PLAN=50/3", "PLAN: only 3 calls per second pass"},
		{"PLAN=0.5/1", ""}, {"PLAN=5/5", ""}, {"PLAN=20/50", ""}, {"PLAN=unlimited", ""}, {"PLAN=enterprise", ""},
		{"PORTAL_PLANS=acme.bitrix24.com=250/5", "PORTAL_PLANS: do you mean 5/250?"},
		{"PORTAL_PLANS=acme.bitrix24.com=enterprise", ""},
		{"PORTAL_PLANS=acme.bitrx24.com=enterprise", "PORTAL_PLANS: acme.bitrx24.com is not a portal that may be called"},
		{"PORTAL_PLANS=box.example.com=enterprise UPSTREAM=http://box.example.com", ""},
		{"PORTALS=acme.bitrix24.com PORTAL_PLANS=other.bitrix24.com=enterprise", "PORTAL_PLANS: other.bitrix24.com"},
		{"CONNECT_TO=acme.bitrix24.org=10.0.0.5:443", "CONNECT_TO: acme.bitrix24.org"},
		{"CONNECT_TO=*.bitrix24.com=10.0.0.5:443", ""}, {"CONNECT_TO=oauth.bitrix.info=10.0.0.5:443", ""},
		{"CONNECT_TO=oauth.bitrix.info=10.0.0.5:443 TUNNEL_HOSTS=none", "CONNECT_TO: oauth.bitrix.info"},
		{"TUNNEL_HOSTS=*.bitrix24.com", "TUNNEL_HOSTS: *.bitrix24.com is a portal too"}, {"TUNNEL_HOSTS=acme.bitrix24.com", "TUNNEL_HOSTS: acme.bitrix24.com is a portal too"},
		{"TUNNEL_HOSTS=oauth.bitrix.info,*.example.org", ""},
		{"MAX_BODY=100", "MAX_BODY: more than 100 bytes get 413"},
		{"MAX_BODY=0", "MAX_BODY: 413"}, {"MAX_BODY=64KiB", ""}, {"MAX_BODY=1GiB", ""},
		{"UPSTREAM=http://acme.bitrix24.com", "UPSTREAM: write https://acme.bitrix24.com"},
		{"UPSTREAM=http://acme.bitrix24.com:80", "UPSTREAM: write https://acme.bitrix24.com"},
		{"UPSTREAM=https://acme.bitrix24.com", ""}, {"UPSTREAM=http://box.example.com", ""}, {"UPSTREAM=http://127.0.0.1:8090", ""},
		{"UPSTREAM=http://box.example.com:443", "UPSTREAM: 443"},
		{"UPSTREAM=https://box.example.com:80", "UPSTREAM: port 80"},
		{"UPSTREAM=http://127.0.0.1:8080", "UPSTREAM: it would call itself"},
		{"OUTBOUND_PROXY=http://127.0.0.1:8080", "OUTBOUND_PROXY: it would call itself"},
		{"OUTBOUND_PROXY=http://user:s3cret@proxy.example:3128", ""},
		{"DRAIN_TIMEOUT=20s", "DRAIN_TIMEOUT: shorter than B24PROXY_UPSTREAM_TIMEOUT (1m5s)"},
		{"UPSTREAM_TIMEOUT=5m", "DRAIN_TIMEOUT: 30s is shorter"},
		{"DRAIN_TIMEOUT=65s", ""},
		{"UPSTREAM_TIMEOUT=20s", "UPSTREAM_TIMEOUT: 20s is shorter than the 1m that"},
		{"UPSTREAM_TIMEOUT=60s DRAIN_TIMEOUT=60s", ""},
		{"QUEUE_WAIT=0s", "QUEUE_WAIT: rejected at once"}, {"QUEUE_WAIT=1s", ""},
		{"QUEUE_DEPTH=0", "QUEUE_DEPTH: rejected at once"}, {"QUEUE_DEPTH=1", ""},
		{"OPERATING_LIMIT=600s", "OPERATING_LIMIT: 10m is more than the 8m"}, {"OPERATING_LIMIT=0s", ""}, {"OPERATING_LIMIT=480s", ""},
		{"METRICS_PORTALS=0", "METRICS_PORTALS: other"}, {"METRICS_PORTALS=1", ""},
		{"PPROF=true ADMIN_LISTEN=:8081", "PPROF: every network"}, {"PPROF=true ADMIN_LISTEN=[::]:8081", "PPROF: every network"},
		{"PPROF=true", ""}, {"ADMIN_LISTEN=0.0.0.0:8081", ""},
		{"TLS_CERT_FILE=" + certFile + " TLS_KEY_FILE=" + keyFile, "TLS_CERT_FILE: no effect without B24PROXY_TLS_LISTEN"},
		{"LOG_CALLS=all LOG_LEVEL=warn", "LOG_CALLS: no effect"}, {"LOG_CALLS=all", ""}, {"LOG_LEVEL=error", ""},
		{"EGRESS_ID=office", "EGRESS_ID: has no effect without B24PROXY_REDIS_URL"}, {"EGRESS_ID=default", ""},
		{"REDIS_URL=redis://redis:6379 EGRESS_ID=office", ""}, {"REDIS_URL=unix://:s3cret@/run/redis.sock", ""},
		{"REDIS_URL=redis://:s3cret@redis:6379 MODE=observe", "REDIS_URL: has no effect with B24PROXY_MODE=observe"},
		{"REDIS_URL=redis://:s3cret@redis:6379 MODE=observe IN_FLIGHT=3 EGRESS_ID=office", "REDIS_URL: has no effect"},
		{"REDIS_URL=redis://:s3cret@203.0.113.5", "REDIS_URL: unencrypted to 203.0.113.5"}, {"REDIS_URL=redis://[2001:db8::1]", "REDIS_URL: unencrypted to 2001:db8::1"},
		{"REDIS_URL=rediss://:s3cret@203.0.113.5", ""}, {"REDIS_URL=redis://:s3cret@redis.example.com", ""},
		{"REDIS_URL=redis://:s3cret@10.0.0.5", ""}, {"REDIS_URL=redis://:s3cret@127.0.0.1", ""}, {"REDIS_URL=redis://[fe80::1%25eth0]", ""}, {"REDIS_URL=redis://100.100.0.1", ""},
		{"REDIS_URL=rediss://:s3cret@redis:6379?skip_verify=true", "REDIS_URL: skip_verify"}, {"REDIS_URL=rediss://redis:6379?skip_verify=false", ""},
		{"REDIS_URL=redis://s3cret@redis:6379", "REDIS_URL: without a password"},
		{"REDIS_URL=redis://:s3cret@redis:26379?master_name=m", "REDIS_URL: of the Sentinels"}, {"REDIS_URL=redis://:s3cret@redis:26379?master_name=m&password=", ""},
		{"REDIS_URL=redis://redis:6379 PLAN=unlimited", "REDIS_URL: no portal has a limit to share"},
		{"REDIS_URL=redis://redis:6379 PLAN=unlimited PORTAL_PLANS=acme.bitrix24.com=standard", ""},
		{"REDIS_URL=redis://redis:6379 PORTAL_PLANS=acme.bitrix24.com=unlimited", ""},
		{"REDIS_URL=redis://redis:6379 IN_FLIGHT=3", "IN_FLIGHT: each replica may have 3"}, {"IN_FLIGHT=3", ""},
		{"", ""},
	} {
		t.Run(cmp.Or(c.environ, "nothing set"), func(t *testing.T) {
			var environ []string
			for setting := range strings.FieldsSeq(c.environ) {
				environ = append(environ, prefix+setting)
			}
			code, stdout, stderr := runCommand(t, environ, "-check")
			if code != 0 || !strings.Contains(stdout, "valid") || strings.Contains(stderr, "s3cret") {
				t.Errorf("got exit code %d, output %q, errors %q, want 0, a word that they are valid, and no secret", code, stdout, stderr)
			}
			if c.want == "" {
				if stderr != "" {
					t.Errorf("got the warning %q, want none", stderr)
				}
				return
			}
			name, words, _ := strings.Cut(c.want, ": ")
			if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "b24proxy: warning: "+prefix+name+": ") || !strings.Contains(stderr, words) {
				t.Errorf("got %q, want one warning of %s with %q", stderr, name, words)
			}
		})
	}
}

// When the program starts, it logs the same warnings, in the format of its log.
func TestWarningsAtTheStart(t *testing.T) {
	t.Parallel()
	p := launch(t, "LOG_FORMAT=json", "MAX_BODY=100", "QUEUE_WIAT=3s")
	for _, want := range []string{"B24PROXY_MAX_BODY: ", "B24PROXY_QUEUE_WIAT is not a setting"} {
		if !strings.Contains(p.logged(), want) {
			t.Errorf("got a log without %q, want it there", want)
		}
	}
	for line := range strings.Lines(p.logged()) {
		if !wellFormed("json", line) {
			t.Errorf("got the line %q, want JSON", line)
		}
	}
}

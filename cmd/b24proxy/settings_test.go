package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
)

// fault reads settings and returns the error, "" if there is none.
func fault(t *testing.T, environ ...string) string {
	t.Helper()
	_, _, err := readSettings(environ)
	if err == nil {
		return ""
	}
	return err.Error()
}

// The program refuses a broken setting with an error that names the variable,
// the value, and what is allowed instead.
func TestBrokenSettings(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(notPEM, []byte("-----BEGIN NOTHING-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		want        string // beside name and value
	}{
		{"LISTEN", "8080", "write :8080"},
		{"LISTEN", "localhost", "host:port"},
		{"LISTEN", ":http", "host:port"},
		{"LISTEN", "127.0.0.1:65536", "host:port"},
		{"LISTEN", "::1:8080", "host:port"},
		{"ADMIN_LISTEN", "-1", "host:port"},
		{"UPSTREAM", "ftp://acme.bitrix24.com", "https://HOST"},
		{"UPSTREAM", "https://acme.bitrix24.com/crm/", "without path"},
		{"UPSTREAM", "https://acme.bitrix24.com?x=1", "without path"},
		{"UPSTREAM", "https://acme_.bit rix24.com", "https://HOST"},
		{"PORTALS", "acme.bitrix24.com,*", "not a valid host"},
		{"PORTALS", "acme..com", "not a valid host"},
		{"PORTALS", "a.*.com", "not a valid host"},
		{"PORTALS", "acme.bitrix24.com:port", "not a valid host"},
		{"PORTALS", "acme bitrix24.com", "not a valid host"},
		{"TUNNEL_HOSTS", "oauth.bitrix.info:8443", "only to port 443, so write oauth.bitrix.info"},
		{"TUNNEL_HOSTS", "10.0.0.5", "write a name"},
		{"TUNNEL_HOSTS", "[::1]", "write a name"},
		{"TUNNEL_HOSTS", "localhost", "write a name"},
		{"TUNNEL_HOSTS", "*", "not a valid host"},
		{"TUNNEL_HOSTS", "user@oauth.bitrix.info", "not a valid host"},
		{"PLAN", "premium", "standard, enterprise, unlimited"},
		{"PLAN", "2", "RATE/BURST"},
		{"PLAN", "0/50", "RATE/BURST"},
		{"PLAN", "-2/50", "RATE/BURST"},
		{"PLAN", "2/0", "RATE/BURST"},
		{"PLAN", "NaN/50", "RATE/BURST"},
		{"PLAN", "Inf/50", "RATE/BURST"},
		{"PLAN", "2/50/3", "RATE/BURST"},
		{"PORTAL_PLANS", "acme.bitrix24.com", "HOST=VALUE"},
		{"PORTAL_PLANS", "acme.bitrix24.com=gold", "not a plan"},
		{"PORTAL_PLANS", "*=standard", "not a valid host"},
		{"QUEUE_WAIT", "25", "has no unit: write 25s; allowed are 0s to 1h"},
		{"QUEUE_WAIT", "1.5", "has no unit: write 1.5s"},
		{"QUEUE_WAIT", "-1s", "0s to 1h"},
		{"QUEUE_WAIT", "2h", "0s to 1h"},
		{"QUEUE_DEPTH", "-1", "0 to 1000000"},
		{"QUEUE_DEPTH", "1e3", "0 to 1000000"},
		{"QUEUE_DEPTH", "99999999999999999999", "0 to 1000000"},
		{"IN_FLIGHT", "-1", "0 to 1000000"},
		{"MODE", "watch", "enforce or observe"},
		{"OPERATING_LIMIT", "480", "0s to 1h"},
		{"STATE_FILE", "/missing/directory/state", "does not exist"},
		{"NORMALIZE", "maybe", "true"},
		{"CONNECT_TO", "acme.bitrix24.com", "HOST=VALUE"},
		{"CONNECT_TO", "acme.bitrix24.com=10.0.0.5", "host:port"},
		{"CONNECT_TO", "acme.bitrix24.com=:443", "host:port"},
		{"CONNECT_TO", "a..b=10.0.0.5:443", "not a valid host"},
		{"UPSTREAM_CA_FILE", filepath.Join(t.TempDir(), "missing.pem"), "no such file"},
		{"UPSTREAM_CA_FILE", notPEM, "PEM"},
		{"UPSTREAM_TIMEOUT", "0s", "100ms to 1h"},
		{"UPSTREAM_TIMEOUT", "soon", "100ms to 1h"},
		{"OUTBOUND_PROXY", "socks5://proxy.example:1080", "http://HOST:PORT"},
		{"OUTBOUND_PROXY", "proxy.example:3128", "http://HOST:PORT"},
		{"MAX_BODY", "100MB", "write 100MiB"},
		{"MAX_BODY", "100M", "write 100MiB"},
		{"MAX_BODY", "1 gb", "write 1GiB"},
		{"MAX_BODY", "512kib", "write 512KiB"},
		{"STATE_FILE", os.TempDir(), "is a directory"},
		{"STATE_FILE", os.DevNull, "not a regular file"},
		{"CA_DIR", "/missing/directory/ca", "does not exist"},
		{"CA_DIR", notPEM, "is not a folder"},
		{"PORTAL_PLANS", "a.example.org=standard,a.example.org=standard", "is listed twice"},
		{"MAX_BODY", "-1", "0 to 64GiB"},
		{"MAX_BODY", "65GiB", "0 to 64GiB"},
		{"MAX_BODY", "9223372036854775807GiB", "0 to 64GiB"},
		{"MAX_BODY", "MiB", "0 to 64GiB"},
		{"DRAIN_TIMEOUT", "1ms", "100ms to 1h"},
		{"METRICS_PORTALS", "many", "0 to 1000000"},
		{"PPROF", "2", "true"},
		{"LOG_LEVEL", "loud", "debug, info, warn or error"},
		{"LOG_FORMAT", "xml", "text or json"},
		{"LOG_CALLS", "none", "failed or all"},
		{"EGRESS_ID", "{office}", "letters (a to z), digits, dashes"},
		{"EGRESS_ID", "office|2", "letters (a to z), digits, dashes"},
		{"EGRESS_ID", "office 2", "letters (a to z), digits, dashes"},
		{"EGRESS_ID", "büro", "letters (a to z), digits, dashes"},
		{"EGRESS_ID", "203.0.113.5:443", "letters (a to z), digits, dashes"},
		{"EGRESS_ID", strings.Repeat("x", 65), "1 to 64"},
		{"REDIS_URL", "redis.example:6379", "write redis://HOST:PORT"},
		{"REDIS_URL", "http://redis.example", "write redis://HOST:PORT"},
		{"REDIS_URL", "redis://:p/ss@redis.example", "/ is written %2F"},
	} {
		t.Run(c.name+"="+c.value+" is refused", func(t *testing.T) {
			got := fault(t, prefix+c.name+"="+c.value)
			if !strings.HasPrefix(got, prefix+c.name+": ") || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one line that names the variable and %q", got, c.want)
			}
			hidden := strings.Contains(got, "not shown") || strings.Contains(got, "without path")
			parts := strings.FieldsFunc(c.value, func(r rune) bool { return r == ',' || r == '=' })
			if !hidden && !slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(got, part) }) {
				t.Errorf("got %q, want the value in it", got)
			}
		})
	}
}

// One error lists all faults, each once, always in the same order.
func TestAllFaultsAtOnce(t *testing.T) {
	var environ, names []string
	for field := range reflect.TypeFor[settings]().Fields() {
		name := prefix + field.Tag.Get("env")
		names = append(names, name)
		environ = append(environ, name+"=/%/%")
	}
	first := fault(t, environ...)
	for _, name := range names {
		if n := strings.Count("\n"+first, "\n"+name+": "); n != 1 {
			t.Errorf("%s is named %d times, want once, in\n%s", name, n, first)
		}
	}
	if n := len(strings.Split(first, "\n")); n != len(names) {
		t.Errorf("got %d lines, want %d:\n%s", n, len(names), first)
	}
	for range 10 {
		if again := fault(t, environ...); again != first {
			t.Fatalf("got the faults in the order\n%s\n\nwant that of the first time\n%s", again, first)
		}
	}
	list := fault(t, prefix+"PORTALS=a..b, acme.bitrix24.com, c..d")
	if !strings.Contains(list, "a..b") || !strings.Contains(list, "c..d") || strings.Contains(list, `"acme`) {
		t.Errorf("got %q, want the faulty parts of the list and no others", list)
	}
}

// An address with a webhook, a password or a token in the wrong place is
// refused, and the error does not repeat it.
func TestFaultsHideSecrets(t *testing.T) {
	const hook = "https://acme.bitrix24.com/rest/1/s3cretcode/"
	for _, setting := range []string{
		"LISTEN=" + hook, "ADMIN_LISTEN=http://user:s3cret@127.0.0.1:8081",
		"UPSTREAM=" + hook, "UPSTREAM=https://user:s3cret@acme.bitrix24.com", "UPSTREAM=https://acme.bitrix24.com?auth=s3cret",
		"UPSTREAM=https://acme.bitrix24.com:s3cret", "UPSTREAM=acme.bitrix24.com/rest/1/s3cret/",
		"PORTALS=" + hook, "PORTALS=acme.bitrix24.com/rest/1/s3cretcode/profile",
		"PLAN=" + hook, "PORTAL_PLANS=" + hook, "PORTAL_PLANS=" + hook + "=standard", "PORTAL_PLANS=acme.bitrix24.com=" + hook,
		"CONNECT_TO=acme.bitrix24.com=" + hook, "CONNECT_TO=" + hook + "=10.0.0.5:443", "UPSTREAM_CA_FILE=" + hook,
		"QUEUE_WAIT=" + hook, "MAX_BODY=" + hook, "LOG_LEVEL=" + hook, "NORMALIZE=" + hook, "QUEUE_DEPTH=" + hook, "LOG_FORMAT=" + hook,
		"STATE_FILE=" + hook + "state", "CA_DIR=" + hook, "MODE=" + hook, "AUTOBATCH=" + hook,
		"OUTBOUND_PROXY=socks5://user:s3cret@proxy.example:1080", "OUTBOUND_PROXY=http://user:s3cret@proxy.example:3128/path",
		"OUTBOUND_PROXY=http://user:s3cret@[proxy", "OUTBOUND_PROXY=user:s3cret@proxy.example:3128",
		"CONNECT_TO=acme.bitrix24.com=user:s3cret@10.0.0.5:443", "LISTEN=user:s3cret@127.0.0.1:8080", "TUNNEL_HOSTS=oauth.bitrix.info,user:s3cret@oauth.bitrix24.tech",
		"PORTALS=user:s3cret@acme.bitrix24.com", "CONNECT_TO=user:s3cret@10.0.0.5:443",
		"CLIENT_KEYS=crm=s3cretkey", "EGRESS_ID=redis://:s3cret@redis.example",
		"REDIS_URL=http://:s3cret@redis.example:6379", "REDIS_URL=:s3cret@redis.example:6379", "REDIS_URL=redis://:s3cret/@redis.example", "REDIS_URL=redis://:6379#s3cret@redis.example",
		"REDIS_URL=redis://redis.example?password=s3cret", "REDIS_URL=redis://:s3cret@redis.example/s3cret", "REDIS_URL=redis://redis.example?s3cret", "REDIS_URL=redis://:%73%33cret@redis.example?x=%73s3cret",
		"REDIS_URL=redis://redis.example?master_name=m&password=s3cret&pool_size=s3cret", "REDIS_URL=redis://redis.example?addr=user:s3cret@redis.example:6379",
	} {
		t.Run(setting, func(t *testing.T) {
			got := fault(t, prefix+setting)
			if name, _, _ := strings.Cut(setting, "="); !strings.HasPrefix(got, prefix+name+": ") || strings.Contains(got, "s3cret") {
				t.Errorf("got %q, want a fault of %s without the secret", got, name)
			}
		})
	}
}

// A list that names nothing is refused, and so is a host that is not one host of
// ASCII characters.
func TestHostsAndListsInSettings(t *testing.T) {
	for _, c := range [][3]string{
		{"PORTALS", ",", "lists nothing"},
		{"PORTALS", ", ,", "lists nothing"},
		{"PORTALS", "\u212arm.example.org", "xn--"},
		{"PORTALS", "портал.рф", "xn--"},
		{"PORTALS", "acme\u00ad.example.org", "xn--"},
		{"PORTALS", "127.1", "not a valid host"},
		{"UPSTREAM", "https://портал.рф", "xn--"},
		{"UPSTREAM", "https://%E2%84%AArm.example.org", "xn--"},
		{"UPSTREAM", "https://*.bitrix24.com", "many hosts"},
		{"OUTBOUND_PROXY", "http://*.example.org:3128", "many hosts"},
		{"PORTAL_PLANS", ",", "lists nothing"},
		{"PORTAL_PLANS", "портал.рф=enterprise", "xn--"},
		{"CONNECT_TO", " , ,", "lists nothing"},
		{"CONNECT_TO", "b\u0130trix.example=10.0.0.5:443", "xn--"},
	} {
		t.Run(c[0]+"="+c[1]+" is refused", func(t *testing.T) {
			if got := fault(t, prefix+c[0]+"="+c[1]); !strings.HasPrefix(got, prefix+c[0]+": ") || !strings.Contains(got, c[2]) {
				t.Errorf("got %q, want a fault of the variable with %q", got, c[2])
			}
		})
	}
}

// A setting that holds only spaces is a mistake; it does not count as unset.
func TestBlankSettings(t *testing.T) {
	for field := range reflect.TypeFor[settings]().Fields() {
		name := prefix + field.Tag.Get("env")
		for _, value := range []string{" ", "\t \n"} {
			if got := fault(t, name+"="+value); !strings.HasPrefix(got, name+": ") || !strings.Contains(got, "is blank") || strings.Contains(got, "\n") {
				t.Errorf("%s=%q: got %q, want one line that says that it is blank", name, value, got)
			}
		}
	}
}

// The defaults apply when nothing is set, and when everything is empty.
func TestDefaults(t *testing.T) {
	var empty []string
	for field := range reflect.TypeFor[settings]().Fields() {
		empty = append(empty, prefix+field.Tag.Get("env")+"=")
	}
	for name, environ := range map[string][]string{"nothing is set": nil, "everything is empty": empty} {
		s, unknown, err := readSettings(environ)
		if err != nil || unknown != nil {
			t.Fatalf("%s: got the error %v and the unknown variables %v, want neither", name, err, unknown)
		}
		if s.Listen != "127.0.0.1:8080" || s.AdminListen != "127.0.0.1:8081" || limiter.Plan(s.Plan) != limiter.Standard ||
			time.Duration(s.QueueWait) != 60*time.Second || s.QueueDepth != 1000 || s.MaxBody != 100<<20 || !bool(s.Normalize) ||
			time.Duration(s.UpstreamTimeout) != 65*time.Second || time.Duration(s.DrainTimeout) != 30*time.Second ||
			s.Mode != "enforce" || time.Duration(s.OperatingLimit) != 480*time.Second || s.StateFile != "" || s.Portals != nil || s.Upstream.URL != nil || s.RedisURL.URL != nil || s.EgressID != "default" || s.LogFormat != "text" || s.LogLevel != 0 {
			t.Errorf("%s: got %+v, want the contract's defaults", name, s)
		}
	}
}

// Every setting accepts the examples of the contract.
func TestGoodSettings(t *testing.T) {
	for _, setting := range []string{
		"LISTEN=:8080", "LISTEN=[::1]:0", "LISTEN=localhost:8080", "UPSTREAM=https://acme.bitrix24.com", "UPSTREAM=https://acme.bitrix24.com/",
		"UPSTREAM=http://127.0.0.1:8090", "UPSTREAM=http://[::1]:8090", "UPSTREAM=https://ACME.bitrix24.com:8443",
		"PORTALS=acme.bitrix24.com,*.example.org, crm.example.org:8443,", "PLAN=unlimited", "PLAN=10/100", "PLAN=0.5/1",
		"PORTAL_PLANS=acme.bitrix24.com=enterprise,*.example.org=unlimited", "QUEUE_WAIT=0s", "QUEUE_WAIT=1m30s", "QUEUE_DEPTH=0", "IN_FLIGHT=4",
		"CONNECT_TO=*.bitrix24.com=10.0.0.5:443", "CONNECT_TO=acme.bitrix24.com=[::1]:443", "OUTBOUND_PROXY=http://user:password@proxy.example:3128",
		"MAX_BODY=0", "MAX_BODY=1", "MAX_BODY=64GiB", "MAX_BODY=512KiB", "NORMALIZE=false", "PPROF=1", "LOG_LEVEL=WARN", "LOG_FORMAT=json", "LOG_CALLS=all",
		"MODE=enforce", "MODE=observe", "OPERATING_LIMIT=0s", "STATE_FILE=" + filepath.Join(t.TempDir(), "state"), "CA_DIR=" + t.TempDir(), "CA_DIR=" + filepath.Join(t.TempDir(), "ca") + "/", "EGRESS_ID=default", "EGRESS_ID=Office-1_a.2", "EGRESS_ID=203.0.113.5", "EGRESS_ID=" + strings.Repeat("x", 64),
		"REDIS_URL=redis://user:pass@redis.example:6379/3", "REDIS_URL=rediss://:p%2Fss@redis.example", "REDIS_URL=unix:///run/redis.sock", "REDIS_URL=redis://a.example:6379?addr=b.example:6379", "REDIS_URL=redis://a.example:26379?master_name=portals",
		"AUTOBATCH=off", "AUTOBATCH=reads",
		"TUNNEL_HOSTS=oauth.bitrix.info,*.example.org,", "TUNNEL_HOSTS=OAUTH.bitrix.info.:443", "TUNNEL_HOSTS=none",
	} {
		t.Run(setting+" is accepted", func(t *testing.T) {
			if got := fault(t, prefix+setting); got != "" {
				t.Errorf("got the fault %q, want none", got)
			}
		})
	}
}

// The program warns of a variable that has the prefix and is not a setting, but
// not of those that Kubernetes sets for a service named b24proxy.
func TestUnknownVariables(t *testing.T) {
	_, unknown, err := readSettings([]string{
		"B24PROXY_SERVICE_HOST=10.1.2.3", "B24PROXY_SERVICE_PORT=8080", "B24PROXY_SERVICE_PORT_HTTP=8080", "B24PROXY_PORT=tcp://10.1.2.3:8080",
		"B24PROXY_PORT_8080_TCP=tcp://10.1.2.3:8080", "B24PROXY_PORT_8080_TCP_PROTO=tcp", "B24PROXY_PORT_8080_TCP_ADDR=10.1.2.3",
		"PATH=/bin", "B24PROXY=1", "LISTEN=nonsense", "B24PROXY_EMPTY=",
		"B24PROXY_QUEUE_WIAT=3s", "B24PROXY_PORTAL=acme.bitrix24.com", "B24PROXY_listen=:1",
	})
	if want := "[B24PROXY_PORTAL B24PROXY_QUEUE_WIAT B24PROXY_listen]"; err != nil || fmt.Sprint(unknown) != want {
		t.Errorf("got the unknown variables %v and the error %v, want %s and no error", unknown, err, want)
	}
}

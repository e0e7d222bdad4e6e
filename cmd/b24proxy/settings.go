package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caarlos0/env/v11"

	"b24proxy/proxy/bitrix24"
)

const prefix = "B24PROXY_"

// settings has one field per variable. -help prints its tags as a table, and a
// test compares the README's table with them.
type settings struct {
	Listen          address   `env:"LISTEN" envDefault:"127.0.0.1:8080" about:"where clients connect"`
	AdminListen     address   `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:8081" about:"/metrics, /healthz, /readyz, /status (JSON), / (page), /debug/pprof/ when B24PROXY_PPROF=true"`
	Upstream        upstream  `env:"UPSTREAM" about:"the portal of all requests that name none, such as https://acme.bitrix24.com; http:// and loopback addresses are allowed only in this setting"`
	Portals         hosts     `env:"PORTALS" about:"comma-separated list of the portal hosts that may be called, *. allowed in front; unset: the cloud zones *.bitrix24.<tld> that Bitrix24 runs"`
	Plan            plan      `env:"PLAN" envDefault:"standard" about:"limit of each portal: standard (2/50), enterprise (5/250), unlimited, or RATE/BURST such as 10/100 (calls per second / calls at once)"`
	PortalPlans     plans     `env:"PORTAL_PLANS" about:"plans of single portals: acme.bitrix24.com=enterprise,*.example.org=unlimited; the longest match wins"`
	Mode            mode      `env:"MODE" envDefault:"enforce" about:"enforce, or observe: limits are not enforced, only what enforcing would have done is counted; invalid requests are still refused"`
	QueueWait       wait      `env:"QUEUE_WAIT" envDefault:"60s" about:"longest wait for a slot; a request may ask for a shorter one with Prefer: wait=N"`
	QueueDepth      count     `env:"QUEUE_DEPTH" envDefault:"1000" about:"maximum waiting requests per portal"`
	InFlight        count     `env:"IN_FLIGHT" envDefault:"0" about:"maximum calls under way at once per portal, for self-hosted portals that more would overload; 0: no maximum"`
	OperatingLimit  wait      `env:"OPERATING_LIMIT" envDefault:"480s" about:"operating time that a method may use within 10 minutes, per portal and application; 0s turns the local guard off"`
	Autobatch       autobatch `env:"AUTOBATCH" envDefault:"off" about:"off, or reads: waiting reads of one credential travel in one batch; a request may ask for the other with Prefer: batch=yes or batch=no"`
	RepeatGuard     wait      `env:"REPEAT_GUARD" envDefault:"60s" about:"how long a write whose result nobody received is remembered, so that a client's repetition does not run twice; 0s turns that off, and Idempotency-Key for REST 2.0 too"`
	Normalize       flag      `env:"NORMALIZE" envDefault:"true" about:"false: answers pass unchanged; they are still classified and counted"`
	StateFile       path      `env:"STATE_FILE" about:"file that keeps the bucket levels, and which writes may have run, over a restart or a kill; unset: both are kept in memory alone"`
	RedisURL        redisURL  `env:"REDIS_URL" about:"Redis or Valkey in which replicas share the limits: redis://HOST:PORT, rediss:// for TLS, unix:///PATH of a socket, with USER:PASSWORD@ before the host; ?addr=HOST:PORT for each further node of a cluster, ?master_name=NAME for Sentinels; unset: limits are not shared"`
	EgressID        egressID  `env:"EGRESS_ID" envDefault:"default" about:"name of the IP address that the portals see: replicas that share it have the same id, others another; 1 to 64 letters, digits, dashes, dots or underscores"`
	ConnectTo       addresses `env:"CONNECT_TO" about:"other addresses to connect to: *.bitrix24.com=10.0.0.5:443; host names, SNI and Host stay the same"`
	UpstreamCAFile  roots     `env:"UPSTREAM_CA_FILE" about:"PEM file with more root certificates for portals; unset: the system's alone"`
	UpstreamTimeout timeout   `env:"UPSTREAM_TIMEOUT" envDefault:"65s" about:"longest silence of a portal: until it has taken the next piece of the request, then until the header of its answer, then until the next piece of the answer; a transfer that makes progress may take longer"`
	OutboundProxy   httpProxy `env:"OUTBOUND_PROXY" about:"HTTP proxy through which the portals are called: http://HOST:PORT"`
	MaxBody         size      `env:"MAX_BODY" envDefault:"100MiB" about:"largest request body; a larger one gets 413 REQUEST_TOO_LARGE"`
	SpoolLimit      size      `env:"SPOOL_LIMIT" envDefault:"1GiB" about:"maximum bytes of request bodies on disk at once; a large body beyond it gets 503 REQUEST_NOT_KEPT"`
	TLSListen       address   `env:"TLS_LISTEN" about:"where clients connect by TLS (https://), with a certificate of B24PROXY_CA_DIR or of B24PROXY_TLS_CERT_FILE; unset: nowhere"`
	TLSCertFile     file      `env:"TLS_CERT_FILE" about:"PEM file with a certificate of your own for B24PROXY_TLS_LISTEN, and those that clients need to verify it; read again when it changes"`
	TLSKeyFile      file      `env:"TLS_KEY_FILE" about:"PEM file with the key of B24PROXY_TLS_CERT_FILE"`
	CADir           folder    `env:"CA_DIR" about:"folder of a CA that the proxy keeps, and makes at the start if there is none; it signs certificates for the portals that may be called, and -ca prints the certificate that clients must trust; unset: no CA"`
	ClientKeys      clients   `env:"CLIENT_KEYS" about:"the clients that may call, with their keys: crm-sync=KEY,shop=KEY; a key has at least 16 letters, digits, dashes or underscores, and is sent in Proxy-Authorization or as http://NAME:KEY@HOST:PORT; unset: whoever reaches the proxy may call"`
	TunnelHosts     tunnels   `env:"TUNNEL_HOSTS" envDefault:"oauth.bitrix.info,oauth.bitrix24.tech" about:"comma-separated list of hosts, *. allowed in front, to whose port 443 CONNECT opens a tunnel that the proxy does not look into, with or without a CA, so that clients can refresh their tokens; none: no such tunnels"`
	DrainTimeout    timeout   `env:"DRAIN_TIMEOUT" envDefault:"30s" about:"longest time for open calls to end after SIGTERM or SIGINT"`
	MetricsPortals  count     `env:"METRICS_PORTALS" envDefault:"1000" about:"maximum portals with a label of their own in the metrics; later ones count as other"`
	PProf           flag      `env:"PPROF" envDefault:"false" about:"true: profiles at /debug/pprof/ of the admin listener"`
	LogLevel        logLevel  `env:"LOG_LEVEL" envDefault:"info" about:"lowest level that is logged: debug, info, warn or error"`
	LogFormat       logFormat `env:"LOG_FORMAT" envDefault:"text" about:"text or json"`
	LogCalls        logCalls  `env:"LOG_CALLS" envDefault:"failed" about:"failed, or all: one line at info for every call, not only for failed ones"`
}

// readSettings reads NAME=value pairs; an empty value counts as unset. The error
// joins all faults, each with its variable. unknown lists the variables that
// have our prefix and are not settings.
func readSettings(environ []string) (s settings, unknown []string, err error) {
	variables := make(map[string]string)
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, prefix) && value != "" {
			variables[name] = value
		}
	}
	faults := blanks(variables)
	if err := env.ParseWithOptions(&s, env.Options{Environment: variables, Prefix: prefix}); err != nil {
		faults = append(faults, named(err)...)
	}
	if s.Listen != "" && s.Listen == s.AdminListen && !strings.HasSuffix(string(s.Listen), ":0") {
		faults = append(faults, fmt.Errorf("%sADMIN_LISTEN: %s is also B24PROXY_LISTEN; write another address", prefix, s.AdminListen))
	}
	faults = append(faults, s.tlsFaults(variables)...)
	for name := range variables {
		if !isSetting(strings.TrimPrefix(name, prefix)) && !fromKubernetes.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	for i, fault := range faults {
		faults[i] = errors.New(lineEnds.Replace(fault.Error()))
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	slices.Sort(unknown)
	return s, unknown, errors.Join(faults...)
}

// lineEnds keeps each fault in one line, whatever a value has.
var lineEnds = strings.NewReplacer("\n", `\n`, "\r", `\r`)

// blanks removes the settings that hold only spaces, and returns a fault for
// each: an empty list would allow what the owner meant to restrict.
func blanks(variables map[string]string) (faults []error) {
	for name, value := range variables {
		if strings.TrimSpace(value) == "" && isSetting(strings.TrimPrefix(name, prefix)) {
			faults = append(faults, fmt.Errorf("%s: %q is blank; unset the variable to get its default", name, value))
			delete(variables, name)
		}
	}
	return faults
}

// fromKubernetes matches the variables that Kubernetes sets in pods when there
// is a service named b24proxy.
var fromKubernetes = regexp.MustCompile(`^B24PROXY_(SERVICE_HOST|(SERVICE_)?PORT(_[A-Z0-9_]+)?)$`)

// named puts the variable before each fault that env found, because env knows
// only fields, and masks secrets in the values that the faults repeat: people
// paste their webhooks into any setting.
func named(err error) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	faults := make([]error, 0, len(all.Errors))
	for _, err := range all.Errors {
		if parse, ok := errors.AsType[env.ParseError](err); ok {
			field, _ := reflect.TypeFor[settings]().FieldByName(parse.Name)
			err = fmt.Errorf("%s%s: %s", prefix, field.Tag.Get("env"), masked(parse.Err.Error()))
		}
		faults = append(faults, err)
	}
	return faults
}

// userinfo matches the user and password of an address in a value that a fault quotes.
var userinfo = regexp.MustCompile(`("[^\s"]*?)[^\s"=,/]*:[^\s"@]*@`)

func masked(fault string) string {
	return userinfo.ReplaceAllString(bitrix24.Redact(fault), "$1...@")
}

func isSetting(short string) bool {
	for field := range reflect.TypeFor[settings]().Fields() {
		if field.Tag.Get("env") == short {
			return true
		}
	}
	return false
}

// printSettings writes the table of settings.
func printSettings(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tDEFAULT\tMEANING")
	for field := range reflect.TypeFor[settings]().Fields() {
		fmt.Fprintf(table, "%s%s\t%s\t%s\n", prefix, field.Tag.Get("env"), field.Tag.Get("envDefault"), field.Tag.Get("about"))
	}
	table.Flush()
}

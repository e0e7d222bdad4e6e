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

// settings is what the environment says, a field a variable. The table of
// -help is made of the tags, and the README's is compared with it.
type settings struct {
	Listen          address   `env:"LISTEN" envDefault:"127.0.0.1:8080" about:"where clients connect"`
	AdminListen     address   `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:8081" about:"/metrics, /healthz, /readyz, /status (JSON), / (page), /debug/pprof/ when B24PROXY_PPROF=true"`
	Upstream        upstream  `env:"UPSTREAM" about:"one portal for all requests that name none (https://acme.bitrix24.com); an http or loopback address only here"`
	Portals         hosts     `env:"PORTALS" about:"comma-separated allow-list of portal hosts, *. allowed in front; unset: the cloud zones *.bitrix24.<tld> that Bitrix24 runs"`
	Plan            plan      `env:"PLAN" envDefault:"standard" about:"standard (2/50), enterprise (5/250), unlimited, or RATE/BURST such as 10/100"`
	PortalPlans     plans     `env:"PORTAL_PLANS" about:"acme.bitrix24.com=enterprise,*.example.org=unlimited; the most exact wins"`
	Mode            mode      `env:"MODE" envDefault:"enforce" about:"observe: nothing waits or is refused here; what would have been is counted"`
	QueueWait       wait      `env:"QUEUE_WAIT" envDefault:"60s" about:"longest wait for a slot; a request may ask for less with Prefer: wait=N"`
	QueueDepth      count     `env:"QUEUE_DEPTH" envDefault:"1000" about:"waiting requests a portal"`
	InFlight        count     `env:"IN_FLIGHT" envDefault:"0" about:"calls of one portal under way at once; 0: no bound. For self-hosted portals that fall over"`
	OperatingLimit  wait      `env:"OPERATING_LIMIT" envDefault:"480s" about:"operating-time budget a method; 0s turns the local guard off"`
	Normalize       flag      `env:"NORMALIZE" envDefault:"true" about:"false: answers pass untouched, still classified and counted"`
	StateFile       path      `env:"STATE_FILE" about:"keeps bucket levels over a restart or a kill"`
	ConnectTo       addresses `env:"CONNECT_TO" about:"*.bitrix24.com=10.0.0.5:443: dial there instead (host names, SNI and Host stay)"`
	UpstreamCAFile  roots     `env:"UPSTREAM_CA_FILE" about:"further roots for portals, a PEM file; unset: the system's alone"`
	UpstreamTimeout timeout   `env:"UPSTREAM_TIMEOUT" envDefault:"65s" about:"longest silence of a portal: while it takes a request, until the answer's header, and between the bytes of the answer"`
	OutboundProxy   httpProxy `env:"OUTBOUND_PROXY" about:"an HTTP proxy towards the portals"`
	MaxBody         size      `env:"MAX_BODY" envDefault:"100MiB" about:"larger request bodies get 413"`
	SpoolLimit      size      `env:"SPOOL_LIMIT" envDefault:"1GiB" about:"request bodies kept on disk at once; above it new large ones get 503 REQUEST_NOT_KEPT"`
	DrainTimeout    timeout   `env:"DRAIN_TIMEOUT" envDefault:"30s" about:"after SIGTERM or SIGINT"`
	MetricsPortals  count     `env:"METRICS_PORTALS" envDefault:"1000" about:"portals with a label of their own; later ones count as other"`
	PProf           flag      `env:"PPROF" envDefault:"false" about:"profiles on the admin listener"`
	LogLevel        logLevel  `env:"LOG_LEVEL" envDefault:"info" about:"debug, info, warn or error"`
	LogFormat       logFormat `env:"LOG_FORMAT" envDefault:"text" about:"text or json"`
	LogCalls        logCalls  `env:"LOG_CALLS" envDefault:"failed" about:"failed, or all: a line for every call at info, not only for failed ones"`
}

// later are the variables whose features are still to come, each with the one
// value that changes nothing.
var later = map[string]string{
	"REDIS_URL":     "",
	"EGRESS_ID":     "default",
	"TLS_LISTEN":    "",
	"TLS_CERT_FILE": "",
	"TLS_KEY_FILE":  "",
	"CA_DIR":        "",
	"CLIENT_KEYS":   "",
	"AUTOBATCH":     "off",
	"REPEAT_GUARD":  "0s",
	"TUNNEL_HOSTS":  "",
}

// readSettings reads NAME=value pairs; an empty value is an unset one. The
// error joins all faults, each with its variable. unknown lists what has our
// prefix and is no setting.
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
		faults = append(faults, fmt.Errorf("%sADMIN_LISTEN: %s is where clients connect; another address is needed", prefix, s.AdminListen))
	}
	for name, value := range variables {
		short := strings.TrimPrefix(name, prefix)
		only, isLater := later[short]
		switch {
		case isLater && value != only:
			faults = append(faults, fmt.Errorf("%s: this feature is not built yet; unset the variable", name))
		case !isLater && !isSetting(short) && !fromKubernetes.MatchString(name):
			unknown = append(unknown, name)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	slices.Sort(unknown)
	return s, unknown, errors.Join(faults...)
}

// blanks takes out the settings that are spaces alone, and returns a fault for
// each: an empty list would allow what was meant to be restricted.
func blanks(variables map[string]string) (faults []error) {
	for name, value := range variables {
		if strings.TrimSpace(value) == "" && isSetting(strings.TrimPrefix(name, prefix)) {
			faults = append(faults, fmt.Errorf("%s: %q is blank; unset the variable for its default", name, value))
			delete(variables, name)
		}
	}
	return faults
}

// fromKubernetes matches what Kubernetes puts into the environment of pods
// beside a service named b24proxy.
var fromKubernetes = regexp.MustCompile(`^B24PROXY_(SERVICE_HOST|(SERVICE_)?PORT(_[A-Z0-9_]+)?)$`)

// named puts the variable before each fault that env found, since env knows
// fields, and masks secrets in the values that the faults repeat: people paste
// their webhooks into any setting.
func named(err error) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	faults := make([]error, 0, len(all.Errors))
	for _, err := range all.Errors {
		var parse env.ParseError
		if errors.As(err, &parse) {
			field, _ := reflect.TypeFor[settings]().FieldByName(parse.Name)
			err = fmt.Errorf("%s%s: %s", prefix, field.Tag.Get("env"), bitrix24.Redact(parse.Err.Error()))
		}
		faults = append(faults, err)
	}
	return faults
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

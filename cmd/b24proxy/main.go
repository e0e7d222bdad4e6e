// Command b24proxy is a rate-limiting reverse proxy in front of the REST API
// of Bitrix24. All its settings come from the environment; -help lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/statefile"
	"b24proxy/proxy"
	"b24proxy/proxy/bitrix24"
)

const usage = `b24proxy is a rate-limiting reverse proxy in front of the Bitrix24 REST API.

  b24proxy           serve until SIGTERM or SIGINT
  b24proxy -check    check the settings and print all faults and warnings; exit with 1 if there is a fault
  b24proxy -ca       print the certificate that clients must trust, of a CA in B24PROXY_CA_DIR
  b24proxy -version  print the version
  b24proxy -help     print this help

All settings come from the environment:

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if usersChoice := os.Getenv("GOGC") + os.Getenv("GOMEMLIMIT"); usersChoice == "" {
		proxy.SetHeapFloor()
	}
	os.Exit(command(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// command does what the arguments say and returns the exit code.
func command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	action := "serve"
	for _, arg := range args {
		switch name := "-" + strings.TrimLeft(arg, "-"); name {
		case "-help", "-h":
			fmt.Fprint(stdout, usage)
			printSettings(stdout)
			return 0
		case "-version":
			fmt.Fprintln(stdout, "b24proxy", versionLine())
			return 0
		case "-check", "-ca":
			action = name
		default:
			fmt.Fprintf(stderr, "b24proxy: unknown argument %q; the arguments are -help, -version, -check and -ca\n", arg)
			return 1
		}
	}
	s, warnings, err := load(environ)
	if err == nil && action == "serve" {
		return exitCode(run(ctx, s, warnings, stderr), stderr)
	}
	report(warnings, err, stderr)
	switch {
	case err != nil:
		return 1
	case action == "-ca":
		return exitCode(s.printRoot(stdout, newLog(s, stderr)), stderr)
	}
	fmt.Fprintln(stdout, "the settings are valid")
	return 0
}

// load reads the settings and collects all warnings about them.
func load(environ []string) (s settings, warnings []string, err error) {
	s, unknown, err := readSettings(environ)
	for _, name := range unknown {
		warnings = append(warnings, name+" is not a setting, see -help")
	}
	if err == nil {
		warnings = append(warnings, s.warnings()...)
	}
	return s, warnings, err
}

// report prints what is wrong with the settings.
func report(warnings []string, err error, stderr io.Writer) {
	for _, warning := range warnings {
		fmt.Fprintln(stderr, "b24proxy: warning:", warning)
	}
	if err != nil {
		fmt.Fprintf(stderr, "b24proxy: wrong settings:\n  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
}

// exitCode returns the exit code for an error, which it prints.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "b24proxy:", err)
	return 1
}

// run serves until ctx ends and every call has its answer.
func run(ctx context.Context, s settings, warnings []string, stderr io.Writer) error {
	log := newLog(s, stderr)
	stdlog.SetFlags(0)
	stdlog.SetOutput(proxy.StdLog(log, slog.LevelDebug).Writer()) // net/http writes lines of its own
	for _, warning := range warnings {
		log.Warn(warning)
	}
	defer keepOnHangup(log)()
	listeners, err := s.listen()
	if err != nil {
		return err
	}
	config := s.config(log)
	warnOfCapped(config)
	if s.StateFile != "" {
		file, err := statefile.Open(string(s.StateFile), config.PlanOf, log.Warn)
		if err != nil {
			return fmt.Errorf("B24PROXY_STATE_FILE: %w", err)
		}
		defer file.Close()
		config.StateFile, config.StatePath = file, string(s.StateFile)
		bitrix24.UseIDKey(file.Key())
	}
	endShared, err := s.openShared(&config) // after the file: the replicas' key of IDs is more than one of its own
	if err != nil {
		return err
	}
	defer endShared()
	if err := s.openCertificates(ctx, &config); err != nil {
		return err
	}
	return proxy.New(config).Serve(ctx, listeners, time.Duration(s.DrainTimeout))
}

// listen opens the listeners of the settings.
func (s settings) listen() (on proxy.Listeners, err error) {
	var errClients, errTLS, errAdmin error
	on.Clients, errClients = net.Listen("tcp", string(s.Listen))
	if s.TLSListen != "" {
		on.TLS, errTLS = net.Listen("tcp", string(s.TLSListen))
	}
	on.Admin, errAdmin = net.Listen("tcp", string(s.AdminListen))
	return on, errors.Join(errClients, errTLS, errAdmin)
}

// keepOnHangup makes the program ignore SIGHUP until stop is called.
func keepOnHangup(log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			log.Warn("SIGHUP is ignored: reloading is not supported yet; restart to change settings")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

func newLog(s settings, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(s.LogLevel)}
	if s.LogFormat == logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// config translates the settings into the proxy's.
func (s settings) config(log *slog.Logger) proxy.Config {
	version, revision := buildInfo()
	return proxy.Config{
		Upstream:        s.Upstream.URL,
		Portals:         s.portals(),
		TunnelHosts:     s.TunnelHosts,
		Plan:            limiter.Plan(s.Plan),
		PortalPlans:     proxy.HostMap[limiter.Plan](s.PortalPlans),
		Clients:         s.ClientKeys.Clients,
		QueueWait:       time.Duration(s.QueueWait),
		QueueDepth:      int(s.QueueDepth),
		InFlight:        int(s.InFlight),
		ConnectTo:       proxy.HostMap[string](s.ConnectTo),
		Roots:           s.UpstreamCAFile.CertPool,
		UpstreamTimeout: time.Duration(s.UpstreamTimeout),
		OutboundProxy:   s.OutboundProxy.URL,
		MaxBody:         int64(s.MaxBody),
		SpoolLimit:      int64(s.SpoolLimit),
		Normalize:       bool(s.Normalize),
		OperatingLimit:  time.Duration(s.OperatingLimit),
		Autobatch:       s.Autobatch == autobatchReads,
		RepeatGuard:     time.Duration(s.RepeatGuard),
		Observe:         s.Mode == modeObserve,
		MetricsPortals:  int(s.MetricsPortals),
		PProf:           bool(s.PProf),
		AdminHost:       s.AdminListen.host(),
		Version:         version,
		Revision:        revision,
		Log:             log,
		LogAllCalls:     s.LogCalls == logAll,
	}
}

// A release build sets version and revision: -ldflags "-X
// main.version=v1.2.3". Otherwise they are what Go knows about the checkout.
var (
	version  = ""
	revision = "unknown"
)

func buildInfo() (v, r string) {
	v, r = version, revision
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, r
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			r = setting.Value
		}
	}
	return v, r
}

func versionLine() string {
	v, revision := buildInfo()
	return v + " (" + revision + ")"
}

// Command b24sim serves a simulated Bitrix24 portal, to try clients without a
// real one. The comment of package proxy/b24sim is its manual; b24sim -help
// lists its flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"b24proxy/proxy/b24sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "b24sim:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. Before it accepts the first call it prints one line
// for each listener, with the real address.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stdout)
	if err != nil {
		return err
	}
	if o.verbose {
		o.config.Log = slog.New(slog.NewTextHandler(stderr, nil))
	}
	portal := b24sim.New(o.config)

	portalListener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer portalListener.Close()
	manageListener, err := net.Listen("tcp", o.manage)
	if err != nil {
		return err
	}
	defer manageListener.Close()

	scheme := "http"
	if o.cert != "" {
		scheme = "https"
	}
	fmt.Fprintf(stdout, "portal %s://%s\n", scheme, portalListener.Addr())
	fmt.Fprintf(stdout, "management http://%s\n", manageListener.Addr())

	return serve(ctx, stderr,
		service{portal, portalListener, o.cert, o.key},
		service{portal.Management(), manageListener, "", ""})
}

// service is a handler and its listener.
type service struct {
	handler   http.Handler
	listener  net.Listener
	cert, key string // for TLS; "": plain HTTP
}

// grace is how long open calls may take when the program stops.
const grace = 3 * time.Second

// serve runs services until ctx ends or one of them fails, then ends them all.
// The context of calls comes from ctx, so calls that are slow on purpose get
// their answer at once when ctx ends.
func serve(ctx context.Context, stderr io.Writer, services ...service) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, len(services))
	servers := make([]*http.Server, len(services))
	for i, s := range services {
		servers[i] = &http.Server{
			Handler:           s.handler,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ReadHeaderTimeout: 30 * time.Second,
			ErrorLog:          slog.NewLogLogger(slog.NewTextHandler(stderr, nil), slog.LevelWarn),
		}
		go func() {
			defer stop()
			if s.cert != "" {
				failed <- servers[i].ServeTLS(s.listener, s.cert, s.key)
				return
			}
			failed <- servers[i].Serve(s.listener)
		}()
	}
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(deadline) != nil {
			server.Close()
		}
	}
	var errs []error
	for range services {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

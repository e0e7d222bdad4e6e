package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Listeners are where a Proxy serves.
type Listeners struct {
	Clients net.Listener
	TLS     net.Listener // for clients, too; may be nil
	Admin   net.Listener // for operators
}

// Serve answers clients and operators until ctx ends, and then shuts down within the
// drain time. It returns nil if every call had its answer.
func (p *Proxy) Serve(ctx context.Context, on Listeners, drain time.Duration) error {
	calls, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	server := p.server(calls, p)
	server.ConnContext = withConn
	server.DisableGeneralOptionsHandler = true // every request is routed
	operators := p.server(calls, p.Admin())
	operators.DisableGeneralOptionsHandler = true // every answer is guarded
	p.overview.listen = on.Clients.Addr().String()
	p.secured.accept = on.TLS
	watch, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	defer unwatch()
	go p.operator.Watch(watch)
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(headListener{on.Clients}) }()
	go func() { failed <- server.Serve(p.secured) }()
	go func() { failed <- operators.Serve(on.Admin) }()
	addresses := []any{"clients", on.Clients.Addr().String(), "admin", on.Admin.Addr().String()}
	if on.TLS != nil {
		go p.secured.listen()
		addresses = append(addresses, "tls", on.TLS.Addr().String())
	}
	defer operators.Close()
	defer server.Close()
	log := p.config.Log.With(p.about()...)
	p.config.Log.Info("serving", append(addresses, p.about()...)...)
	select {
	case err := <-failed:
		log.Error("stopped", "reason", err)
		return err
	case <-ctx.Done():
	}
	return p.shutDown(context.Cause(ctx), log, server, drain, func() { cut(errStopped) })
}

// about is what the log lines of start and stop say about the settings.
func (p *Proxy) about() []any {
	c := &p.config
	portals, upstream := "cloud", "none"
	if !slices.Equal(c.Portals, CloudPortals()) {
		names := make([]string, len(c.Portals))
		for i, pattern := range c.Portals {
			names[i] = pattern.String()
		}
		portals = strings.Join(names, ",")
	}
	if c.Upstream != nil {
		upstream = c.Upstream.Redacted()
	}
	return []any{"version", c.Version, "mode", c.mode(), "plan", c.Plan, "portals", portals, "upstream", upstream, "state_file", cmp.Or(c.StatePath, "none")}
}

func (p *Proxy) server(calls context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          StdLog(p.config.Log, slog.LevelDebug),
	}
}

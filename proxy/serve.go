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

// Serve answers clients on one listener and operators on the other until ctx ends,
// and then shuts down within the drain time. It returns nil if every call had its
// answer.
func (p *Proxy) Serve(ctx context.Context, clients, admin net.Listener, drain time.Duration) error {
	calls, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	server := p.server(calls, p)
	server.ConnContext = withConn
	server.DisableGeneralOptionsHandler = true // every request is routed
	operators := p.server(calls, p.Admin())
	operators.DisableGeneralOptionsHandler = true // every answer is guarded
	p.overview.listen = clients.Addr().String()
	watch, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	defer unwatch()
	go p.operator.Watch(watch)
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(headListener{clients}) }()
	go func() { failed <- operators.Serve(admin) }()
	defer operators.Close()
	defer server.Close()
	log := p.config.Log.With(p.about()...)
	p.config.Log.Info("serving", append([]any{"clients", clients.Addr().String(), "admin", admin.Addr().String()}, p.about()...)...)
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

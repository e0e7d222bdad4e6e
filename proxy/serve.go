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
	defer p.tunnels.Close()
	server := p.server(calls, p)
	server.ConnContext, server.ConnState = withConn, p.connState
	server.DisableGeneralOptionsHandler = true // every request is routed
	operators := p.server(calls, p.Admin())
	operators.ConnState = p.connState
	operators.DisableGeneralOptionsHandler = true // every answer is guarded
	p.overview.listen = on.Clients.Addr().String()
	p.secured.accept = p.connections.limit(on.TLS)
	watch, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	defer unwatch()
	go p.operator.Watch(watch)
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(headListener{p.connections.limit(on.Clients)}) }()
	go func() { failed <- server.Serve(p.secured) }()
	go func() { failed <- operators.Serve(p.operators.limit(on.Admin)) }()
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

const (
	// headBytes bounds the request line and the header lines. A batch by GET has its
	// commands in the line; portals themselves refuse long ones (414).
	headBytes = 128 << 10
	// streams bounds the calls at once on one connection of HTTP/2.
	streams = 250
)

func (p *Proxy) server(calls context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: headTime,
		MaxHeaderBytes:    headBytes,
		IdleTimeout:       2 * time.Minute,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
		ErrorLog:          StdLog(p.config.Log, slog.LevelDebug),
	}
}

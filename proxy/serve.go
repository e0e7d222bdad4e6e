package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// errStopped ends the calls that a stop could not wait for.
var errStopped = errors.New("the proxy was stopped")

// Serve answers clients on one listener and operators on the other until ctx
// ends. Then it drains: who comes now is refused, in an answer; calls go on for
// most of the drain time, those still waiting for a slot are then refused, those
// still with their portal answered that their fate is unknown. When the last has
// its answer the listeners close. It returns nil when every call had its answer.
func (p *Proxy) Serve(ctx context.Context, clients, admin net.Listener, drain time.Duration) error {
	calls, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	server := p.server(calls, p)
	server.ConnContext = withConn
	server.DisableGeneralOptionsHandler = true // every request is looked at
	operators := p.server(calls, p.Admin())
	operators.DisableGeneralOptionsHandler = true // every answer is guarded
	p.listen = clients.Addr().String()
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
	began, reason := time.Now(), context.Cause(ctx)
	idle := p.calls.close()
	log.Info("stopping", "reason", reason, "drain", drain, "open_calls", p.calls.count())
	p.drain(idle, drain, func() { cut(errStopped) })
	flush(server, min(time.Second, drain/10))
	open := p.calls.count()
	log.Info("stopped", "reason", reason, "after", time.Since(began).Round(time.Millisecond), "uptime", time.Since(p.began).Round(time.Millisecond), "open_calls", open)
	if open > 0 {
		return fmt.Errorf("%d calls were still open at the end of the drain time", open)
	}
	return nil
}

// drain waits so long until no call is open any more. After 7 tenths of
// the time nobody waits for a slot any more, after 8 nobody for a portal.
func (p *Proxy) drain(idle <-chan struct{}, wait time.Duration, cut func()) {
	refuse := time.AfterFunc(wait*7/10, func() {
		p.budgets.Close()
		p.limiter.Close()
	})
	defer refuse.Stop()
	defer time.AfterFunc(wait*8/10, cut).Stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	select {
	case <-idle:
	case <-end.C:
	}
}

// flush closes the listener and waits so long for the last bytes of answers to
// leave. Connections that say nothing are not worth more.
func flush(server *http.Server, wait time.Duration) {
	bound, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	server.Shutdown(bound)
}

// about is what the lines of start and stop say of the settings.
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

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// errStopped ends the calls that a stop could not wait for.
var errStopped = errors.New("the proxy was stopped")

// Serve answers clients on one listener and operators on the other until ctx
// ends. Then it takes no more connections and drains: calls go on for most of
// the drain time, those still waiting for a slot are then refused, those still
// with their portal answered that their fate is unknown. It returns nil when
// every call had its answer.
func (p *Proxy) Serve(ctx context.Context, clients, admin net.Listener, drain time.Duration) error {
	calls, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	server := p.server(calls, p)
	operators := p.server(calls, p.Admin())
	p.listen = clients.Addr().String()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go p.watch(watch)
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(clients) }()
	go func() { failed <- operators.Serve(admin) }()
	defer operators.Close()
	select {
	case err := <-failed:
		server.Close()
		return err
	case <-ctx.Done():
	}
	p.log.Info("stopping", "drain", drain)
	p.draining.Store(true)
	refuse := time.AfterFunc(drain*7/10, func() {
		close(p.stopping)
		p.limiter.Close()
	})
	defer refuse.Stop()
	err := shutdown(server, drain*8/10)
	if err != nil {
		cut(errStopped)
		err = shutdown(server, drain*2/10)
	}
	if err != nil {
		server.Close()
	}
	if open := p.open.Load(); open > 0 { // else only connections without a call were
		return fmt.Errorf("%d calls were still open at the end of the drain time", open)
	}
	p.log.Info("stopped")
	return nil
}

// shutdown waits so long for every call to have its answer.
func shutdown(server *http.Server, wait time.Duration) error {
	bound, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return server.Shutdown(bound)
}

func (p *Proxy) server(calls context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy"
	"b24proxy/proxy/b24sim"
)

// A portal is a simulated portal on a loopback port.
type portal struct {
	portal *b24sim.Portal
	base   string
	server *http.Server
}

func startPortal(o options) (*portal, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := b24sim.Config{
		Rate: int(o.plan.Rate), Burst: o.plan.Burst, RefusedCount: true,
		Jitter: o.jitter, Speed: o.speed, Seed: o.seed,
	}
	if o.mix {
		config.Faults = failures
	}
	sim := b24sim.New(config)
	p := &portal{portal: sim, base: "http://" + listener.Addr().String(), server: &http.Server{Handler: sim}}
	go p.server.Serve(listener)
	return p, nil
}

// failures are what the simulated portal does wrong with -mix.
var failures = []b24sim.Fault{
	{Kind: "INTERNAL_SERVER_ERROR", Share: 0.02},
	{Kind: "expired_token", Share: 0.02},
	{Kind: "html", Share: 0.02},
	{Kind: "reset-after", Share: 0.01},
}

func (p *portal) stop() { p.server.Close() }

// A gateway is a proxy on a loopback port.
type gateway struct {
	base   string
	cancel context.CancelFunc
	ended  chan error
}

// startProxy starts a proxy whose rate is as many times higher as the portal's
// time is faster.
func startProxy(o options, portal string, join bool) (*gateway, error) {
	upstream, err := url.Parse(portal)
	if err != nil {
		return nil, err
	}
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		clients.Close()
		return nil, err
	}
	p := proxy.New(proxy.Config{
		Upstream:        upstream,
		Plan:            limiter.Plan{Rate: o.plan.Rate * o.speed, Burst: o.plan.Burst},
		QueueWait:       2*o.real(o.least()) + time.Minute,
		QueueDepth:      o.calls,
		Autobatch:       join,
		UpstreamTimeout: time.Minute,
		MaxBody:         1 << 20,
		Normalize:       true,
		MetricsPortals:  10,
		Log:             slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	g := &gateway{base: "http://" + clients.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { g.ended <- p.Serve(ctx, proxy.Listeners{Clients: clients, Admin: admin}, time.Second) }()
	return g, nil
}

func (g *gateway) stop() {
	g.cancel()
	<-g.ended
}

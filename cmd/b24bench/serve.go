package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/http/pprof"
	"net/url"
	"os"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy"
)

// To measure a program alone, this one runs it as a child: itself, with these
// arguments. A child serves on a loopback port, prints the address, and ends with its
// standard input, so that none outlives its parent.
const serveArg = "serve"

// The children.
const (
	rolePortal = "portal" // answers each call with the same 3.5 kB
	roleBare   = "bare"   // httputil.ReverseProxy and nothing else
	roleOurs   = "b24proxy"
	roleFloor  = "floor"  // roleBare, and its garbage may grow as that of b24proxy does
	rolePlain  = "plain"  // roleOurs, and its garbage may not
	roleSecure = "secure" // the portal, over TLS, under each name below example.com
	roleMany   = "many"   // b24proxy for that

	// What net/http alone needs for calls that wait.
	roleHandlerWaits = "handler waits" // a handler that reads the body and waits
	roleBareWaits    = "bare waits"    // bare, whose transport waits
)

// unlimited is the plan without a limit.
const unlimited = "unlimited"

// waitForAll is longer than any call of a benchmark waits for its slot.
const waitForAll = 10 * time.Hour

// serve is the child in a role. Its upstream is the base address of a portal; only
// b24proxy keeps to the plan.
func serve(role, upstream, plan string, stdin io.Reader, stdout io.Writer) error {
	to, errURL := url.Parse(upstream)
	limit, err := limiter.ParsePlan(plan)
	if err = errors.Join(err, errURL); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if role == roleOurs || role == roleFloor {
		proxy.SetHeapFloor()
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { defer stop(); io.Copy(io.Discard, stdin) }()
	if role == roleOurs || role == rolePlain || role == roleMany {
		return serveOurs(ctx, listener, to, limit, role == roleMany, stdout)
	}
	if role == roleHandlerWaits || role == roleBareWaits {
		return serveWaiting(ctx, listener, role, stdout)
	}
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	switch role {
	case rolePortal:
		return serveUntil(ctx, listener, http.HandlerFunc(answerAll))
	case roleBare, roleFloor:
		return serveUntil(ctx, listener, bare(to))
	case roleSecure:
		server := securePortal()
		server.Listener.Close()
		server.Listener = listener
		server.StartTLS()
		<-ctx.Done()
		server.Close()
		return nil
	}
	return fmt.Errorf("no child %q", role)
}

func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// page is what crm.deal.list answers: 3.5 kB. PHP sends it without its length.
var page = `{"result":[` + strings.Repeat(deal+",", 15) + deal + `],"next":50,"total":812,"time":{"start":1764288000.1234,"finish":1764288000.2345,"duration":0.1111,"processing":0.0899,"date_start":"2026-11-28T03:00:00+03:00","date_finish":"2026-11-28T03:00:00+03:00","operating_reset_at":1764288600,"operating":0.0911}}`

const deal = `{"ID":"4711","TITLE":"Order no. 4711 of the web shop","STAGE_ID":"C2:NEW","OPPORTUNITY":"1290.00","CURRENCY_ID":"EUR","ASSIGNED_BY_ID":"17","COMMENTS":"\u041a \u043e\u043f\u043b\u0430\u0442\u0435"}`

func answerAll(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	io.WriteString(w, page)
}

// bare is what the overhead is measured against. It keeps as many connections as
// b24proxy does, since the two that are the default would be what is measured.
func bare(to *url.URL) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 1000, 100
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the failures are counted
	}
}

// serveWaiting lets every call wait until its caller leaves.
func serveWaiting(ctx context.Context, l net.Listener, role string, stdout io.Writer) error {
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s http://%s\n", l.Addr(), admin.Addr())
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	go serveUntil(ctx, admin, profiles)
	if role == roleBareWaits {
		return serveUntil(ctx, l, &httputil.ReverseProxy{
			Rewrite: func(*httputil.ProxyRequest) {}, Transport: waitingTransport{}, ErrorLog: log.New(io.Discard, "", 0), // callers leave
		})
	}
	return serveUntil(ctx, l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
}

type waitingTransport struct{}

func (waitingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// serveOurs prints the address for operators, too.
func serveOurs(ctx context.Context, l net.Listener, to *url.URL, plan limiter.Plan, isForMany bool, stdout io.Writer) error {
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s http://%s\n", l.Addr(), admin.Addr())
	config := proxy.Config{
		Upstream:        to,
		Plan:            plan,
		QueueWait:       waitForAll,
		QueueDepth:      20_000,
		UpstreamTimeout: 65 * time.Second,
		MaxBody:         100 << 20,
		SpoolLimit:      1 << 30,
		OperatingLimit:  480 * time.Second,
		RepeatGuard:     time.Minute,
		Normalize:       true,
		MetricsPortals:  1000,
		PProf:           true,
		Log:             slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if isForMany {
		pattern, err := proxy.ParseHostPattern("*.example.com")
		if err != nil {
			return err
		}
		config.MetricsPortals = labelledPortals
		config.Upstream, config.Roots, config.Portals = nil, rootsOfSecure(), []proxy.HostPattern{pattern}
		config.ConnectTo = proxy.HostMap[string]{{Pattern: pattern, Value: to.Host}}
	}
	return proxy.New(config).Serve(ctx, proxy.Listeners{Clients: l, Admin: admin}, time.Second)
}

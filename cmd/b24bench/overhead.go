package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"
)

// What -overhead does unless -n and -for say otherwise.
const (
	overheadCallers = 16
	overheadRound   = 500 * time.Millisecond // short, so that noise of the machine meets all alike
	overheadRounds  = 30
	steadyRate      = 1000 // calls per second
)

// An overheadReport says what one proxy costs where no limit is in force.
type overheadReport struct {
	Name string `json:"name"`
	cost
	Wrk       *cost   `json:"wrk,omitempty"` // under the load of wrk, if that is installed
	SteadyP50 float64 `json:"steady_p50"`    // seconds, at 1,000 calls per second
	SteadyP99 float64 `json:"steady_p99"`
}

// compared are the proxies of -overhead. The first one is what the others are compared
// with. A floor is that of proxy.SetHeapFloor, from which the garbage of anybody would gain.
var compared = []rival{
	{name: "bare ReverseProxy", role: roleBare},
	{name: "b24proxy", role: roleOurs},
	{name: "bare, with the heap floor", role: roleFloor},
	{name: "b24proxy without it", role: rolePlain},
}

// overhead sends calls in turn straight to a portal, through bare
// httputil.ReverseProxies and through b24proxy, each a process of its own.
func overhead(ctx context.Context, o options, w io.Writer) error {
	portal, err := startChild(rolePortal, "", unlimited)
	if err != nil {
		return err
	}
	defer portal.stop()
	rivals := []*rival{{name: "straight to the portal", child: portal}}
	for _, r := range compared {
		if r.child, err = startChild(r.role, portal.base, unlimited); err != nil {
			return err
		}
		defer r.child.stop()
		rivals = append(rivals, &r)
	}
	for range overheadRounds + 1 { // the first one warms up
		for _, r := range rivals {
			if err := r.round(ctx, o); err != nil {
				return err
			}
		}
	}
	if err := wrkRounds(ctx, o, rivals); err != nil {
		return err
	}
	for _, r := range rivals {
		r.steady(ctx, o)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	reports := make([]overheadReport, len(rivals))
	for i, r := range rivals {
		reports[i] = r.report(rivals[1])
	}
	if o.json {
		return json.NewEncoder(w).Encode(reports)
	}
	printOverhead(w, o, reports)
	return nil
}

// A rival is one of those that are compared.
type rival struct {
	name, role string
	child      *child
	rounds     rounds
	wrk        rounds // empty if it is not installed
	quiet      load   // at a steady rate
}

func (r *rival) round(ctx context.Context, o options) error {
	c := newCaller(r.child.base, o.path, o.calls)
	defer c.close()
	return r.rounds.measure(r.child, func() (load, error) { return c.keepCalling(ctx, o.calls, o.last), nil })
}

func (r *rival) steady(ctx context.Context, o options) {
	c := newCaller(r.child.base, o.path, overheadCallers)
	defer c.close()
	r.quiet = c.callEvery(ctx, time.Second/steadyRate, 10*o.last)
}

func (r *rival) report(bare *rival) overheadReport {
	report := overheadReport{
		Name: r.name, cost: r.rounds.cost(bare.rounds),
		SteadyP50: r.quiet.quantile(0.5).Seconds(), SteadyP99: r.quiet.quantile(0.99).Seconds(),
	}
	if len(r.wrk) > 0 {
		byWrk := r.wrk.cost(bare.wrk)
		report.Wrk = &byWrk
	}
	return report
}

func printOverhead(w io.Writer, o options, reports []overheadReport) {
	fmt.Fprintf(w, "no limit in force; answers of %.1f kB; %d callers by POST, %d rounds of %v in turn; then %d calls per second; %s, %d CPUs\n\n",
		float64(len(page))/1000, o.calls, overheadRounds, o.last, steadyRate, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(w, "%-25s %9s %8s %11s %8s %8s %8s %7s\n", "", "calls/s", "of bare", "CPU a call", "of bare", "p50", "p99", "failed")
	for _, r := range reports {
		fmt.Fprintf(w, "%-25s %9.0f %8.2f %11s %8.2f %8s %8s %7d\n", r.Name, r.PerSecond, r.ThroughputShare,
			micro(r.CPU), r.CPUShare, micro(r.SteadyP50), micro(r.SteadyP99), r.Failed)
	}
	if reports[0].Wrk == nil {
		fmt.Fprintln(w, "\nwrk is not installed")
		return
	}
	fmt.Fprintf(w, "\n%-25s %9s %8s %11s %8s %26s\n", fmt.Sprintf("wrk, %d connections", wrkConnections), "calls/s", "of bare", "CPU a call", "of bare", "failed")
	for _, r := range reports {
		fmt.Fprintf(w, "%-25s %9.0f %8.2f %11s %8.2f %26d\n", r.Name, r.Wrk.PerSecond, r.Wrk.ThroughputShare, micro(r.Wrk.CPU), r.Wrk.CPUShare, r.Wrk.Failed)
	}
}

func micro(s float64) string { return fmt.Sprintf("%.0fµs", 1e6*s) }

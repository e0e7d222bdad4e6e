package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// What -overhead does unless -n and -for say otherwise.
const (
	overheadCallers = 16
	overheadRound   = 500 * time.Millisecond // short, so that noise of the machine meets all alike
	overheadRounds  = 30
	steadyRate      = 1000 // calls per second
)

// An overheadReport says what one proxy costs where no limit is in force. Shares are
// of a bare httputil.ReverseProxy: of its throughput the median of the rounds, of its
// CPU time that of all rounds, since the system counts that in steps of 10 ms.
type overheadReport struct {
	Name            string  `json:"name"`
	Calls           int     `json:"calls"`
	Failed          int     `json:"failed"`
	PerSecond       float64 `json:"per_second"`
	ThroughputShare float64 `json:"throughput_share"`
	CPU             float64 `json:"cpu"` // seconds a call
	CPUShare        float64 `json:"cpu_share"`
	SteadyP50       float64 `json:"steady_p50"` // seconds, at 1,000 calls per second
	SteadyP99       float64 `json:"steady_p99"`
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
	rounds     []roundResult
	quiet      load // at a steady rate
}

type roundResult struct {
	load
	cpu time.Duration
}

func (r *rival) round(ctx context.Context, o options) error {
	c := newCaller(r.child.base, o.path, o.calls)
	defer c.close()
	before, err := r.child.cpu()
	if err != nil {
		return err
	}
	result := roundResult{load: c.keepCalling(ctx, o.calls, o.last)}
	after, err := r.child.cpu()
	result.cpu = after - before
	r.rounds = append(r.rounds, result)
	return err
}

func (r *rival) steady(ctx context.Context, o options) {
	c := newCaller(r.child.base, o.path, overheadCallers)
	defer c.close()
	r.quiet = c.callEvery(ctx, time.Second/steadyRate, 10*o.last)
}

func (r *rival) report(bare *rival) overheadReport {
	s := overheadReport{Name: r.name, SteadyP50: r.quiet.quantile(0.5).Seconds(), SteadyP99: r.quiet.quantile(0.99).Seconds()}
	var throughput []float64
	for i, round := range r.rounds[1:] {
		s.Calls, s.Failed = s.Calls+round.calls, s.Failed+round.failed
		throughput = append(throughput, round.perSecond()/bare.rounds[1+i].perSecond())
	}
	s.PerSecond, s.ThroughputShare = r.perSecond(), median(throughput)
	s.CPU = r.cpuOfACall()
	s.CPUShare = s.CPU / bare.cpuOfACall()
	return s
}

func (r *rival) perSecond() float64 {
	var all []float64
	for _, round := range r.rounds[1:] {
		all = append(all, round.perSecond())
	}
	return median(all)
}

// cpuOfACall is in seconds.
func (r *rival) cpuOfACall() float64 {
	var cpu time.Duration
	calls := 0
	for _, round := range r.rounds[1:] {
		cpu, calls = cpu+round.cpu, calls+round.calls
	}
	return cpu.Seconds() / float64(calls)
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

func printOverhead(w io.Writer, o options, reports []overheadReport) {
	fmt.Fprintf(w, "no limit in force; %d callers, answers of %.1f kB, %d rounds of %v in turn; then %d calls per second; %s, %d CPUs\n\n",
		o.calls, float64(len(page))/1000, overheadRounds, o.last, steadyRate, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(w, "%-25s %9s %8s %11s %8s %8s %8s %7s\n", "", "calls/s", "of bare", "CPU a call", "of bare", "p50", "p99", "failed")
	for _, r := range reports {
		fmt.Fprintf(w, "%-25s %9.0f %8.2f %11s %8.2f %8s %8s %7d\n", r.Name, r.PerSecond, r.ThroughputShare,
			micro(r.CPU), r.CPUShare, micro(r.SteadyP50), micro(r.SteadyP99), r.Failed)
	}
}

func micro(s float64) string { return fmt.Sprintf("%.0fµs", 1e6*s) }

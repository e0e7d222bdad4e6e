// Command b24bench shows what b24proxy is for: it sends the same calls at once
// straight to a portal and through the proxy, and prints a table of both.
//
// With no arguments it needs nothing: the portal is simulated, and simulator
// and proxy run in this process. The portal's time can be sped up; the proxy is
// then told of a plan that is as much faster.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"b24proxy/limiter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "b24bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	calls  int
	plan   limiter.Plan
	speed  float64
	jitter time.Duration
	seed   uint64
	proxy  string
	portal string
	path   string
	last   time.Duration
	mix    bool
	json   bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("b24bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.calls, "n", 200, "calls at once")
	plan := flags.String("plan", "standard", "the portal's plan: standard, enterprise or RATE/BURST")
	flags.Float64Var(&o.speed, "speed", 10, "how many times faster than real the portal's time goes")
	flags.DurationVar(&o.jitter, "jitter", 0, "delay calls on their way by up to so much, in the portal's time")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the portal's tick and jitter; 0: random")
	flags.StringVar(&o.proxy, "proxy", "", "address of a running proxy: send through it alone")
	flags.StringVar(&o.portal, "portal", "", "with -proxy: the portal to name in B24-Portal")
	flags.StringVar(&o.path, "path", "/rest/1/b24bench/crm.deal.list", "address of the calls")
	flags.DurationVar(&o.last, "for", 0, "go on for so long: n callers, each with one call after the other")
	flags.BoolVar(&o.mix, "mix", false, "mix reads, writes, batches and wrong calls; the simulated portal fails now and then")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.plan, err = limiter.ParsePlan(*plan)
	switch {
	case err != nil:
	case o.plan.Unlimited():
		err = errors.New("-plan: without a limit there is nothing to show")
	case o.plan.Rate != float64(int(o.plan.Rate)):
		err = fmt.Errorf("-plan: the simulated portal takes whole calls a second, not %g", o.plan.Rate)
	case o.calls < 1 || o.calls > 100_000:
		err = fmt.Errorf("-n %d: want 1 to 100000", o.calls)
	case !(o.speed >= 0.1 && o.speed <= 1000):
		err = fmt.Errorf("-speed %g: want 0.1 to 1000", o.speed)
	case o.last < 0 || o.last > time.Hour:
		err = fmt.Errorf("-for %v: want 0s to 1h", o.last)
	case flags.NArg() > 0:
		err = fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var reports []report
	if o.proxy != "" {
		reports = append(reports, send(ctx, "through the proxy", target{base: o.proxy, portal: o.portal}, o, stderr))
	} else if reports, err = compare(ctx, o, stderr); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(stdout).Encode(reports)
	}
	return printTable(stdout, o, reports)
}

// compare sends the calls to a portal, and to another one through a proxy.
func compare(ctx context.Context, o options, stderr io.Writer) ([]report, error) {
	portal, err := startPortal(o)
	if err != nil {
		return nil, err
	}
	defer portal.stop()
	straight := send(ctx, "straight to the portal", target{base: portal.base}, o, stderr)

	fresh, err := startPortal(o)
	if err != nil {
		return nil, err
	}
	defer fresh.stop()
	proxy, err := startProxy(o, fresh.base)
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	through := send(ctx, "through b24proxy", target{base: proxy.base}, o, stderr)
	through.PortalRefused = fresh.portal.Refused()
	straight.PortalRefused = portal.portal.Refused()
	return []report{straight, through}, nil
}

func printTable(w io.Writer, o options, reports []report) error {
	printHead(w, o)
	fmt.Fprintf(w, "%-24s %6s %8s %7s %8s %9s %8s %8s\n", "", "ok", "refused", "failed", "time", "of least", "p50", "p99")
	for _, r := range reports {
		share := "-"
		if r.OK == o.calls && o.last == 0 && r.ShareOfLeast > 0 {
			share = fmt.Sprintf("%.1f %%", 100*r.ShareOfLeast)
		}
		fmt.Fprintf(w, "%-24s %6d %8d %7d %8s %9s %8s %8s\n", r.Name, r.OK, r.Refused, r.Failed,
			short(r.Time()), share, short(seconds(r.P50)), short(seconds(r.P99)))
	}
	var errs []string
	for _, r := range reports {
		for reason, n := range r.Errors {
			errs = append(errs, fmt.Sprintf("%s: %d × %s", r.Name, n, reason))
		}
	}
	if len(errs) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(errs, "\n"))
	}
	return nil
}

func printHead(w io.Writer, o options) {
	if o.last > 0 {
		fmt.Fprintf(w, "%d callers for %v\n\n", o.calls, o.last)
		return
	}
	least := o.least()
	fmt.Fprintf(w, "%d calls at once, plan %v, portal at %g times real time\n", o.calls, o.plan, o.speed)
	fmt.Fprintf(w, "least possible time (n - X) / Y: %s of the portal's, %s here\n\n", short(least), short(o.real(least)))
}

// least is the shortest time, of the portal's, in which a portal can take the
// calls: its burst at once, the rest at its rate.
func (o options) least() time.Duration {
	return seconds(max(0, float64(o.calls-o.plan.Burst)) / o.plan.Rate)
}

// real is how long a time of the portal's takes.
func (o options) real(d time.Duration) time.Duration { return time.Duration(float64(d) / o.speed) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// short prints a duration to three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	default:
		return fmt.Sprintf("%.0fms", float64(d)/float64(time.Millisecond))
	}
}

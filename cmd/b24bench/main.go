// Command b24bench shows what b24proxy is for: it sends the same calls at once
// straight to a portal, through the proxy, and through one that joins reads, and
// prints a table of the three.
//
// Without arguments it needs nothing else: the portal is simulated, and simulator
// and proxy run in this process. The portal's time can be faster than real time;
// the rate of the proxy's plan is then as many times higher.
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
	"slices"
	"strings"
	"time"

	"b24proxy/proxy"
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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 4 && args[0] == serveArg {
		return serve(args[1], args[2], args[3], os.Stdin, stdout)
	}
	o, err := parse(args, stdout)
	switch {
	case err != nil:
		return err
	case o.overhead:
		return overhead(ctx, o, stdout)
	case o.peers:
		return comparePeers(ctx, o, stdout)
	case o.memory:
		return measureMemory(ctx, o, stdout)
	case o.soak > 0:
		return soak(ctx, o, stdout)
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

// compare sends the calls to a portal, then to a fresh one through a proxy, then to
// another through a proxy that joins reads.
func compare(ctx context.Context, o options, stderr io.Writer) ([]report, error) {
	portal, err := startPortal(o)
	if err != nil {
		return nil, err
	}
	defer portal.stop()
	straight := send(ctx, "straight to the portal", target{base: portal.base}, o, stderr)

	straight.PortalRefused = portal.portal.Refused()

	through, err := throughProxy(ctx, "through b24proxy", false, o, stderr)
	if err != nil {
		return nil, err
	}
	joined, err := throughProxy(ctx, "through b24proxy, reads joined", true, o, stderr)
	return []report{straight, through, joined}, err
}

// throughProxy sends the calls to a fresh portal through a proxy.
func throughProxy(ctx context.Context, name string, join bool, o options, stderr io.Writer) (report, error) {
	fresh, err := startPortal(o)
	if err != nil {
		return report{}, err
	}
	defer fresh.stop()
	gateway, err := startProxy(o, fresh.base, join)
	if err != nil {
		return report{}, err
	}
	defer gateway.stop()
	r := send(ctx, name, target{base: gateway.base}, o, stderr)
	r.PortalRefused = fresh.portal.Refused()
	return r, nil
}

func printTable(w io.Writer, o options, reports []report) error {
	printHead(w, o)
	fmt.Fprintf(w, "%-30s %6s %8s %7s %8s %9s %8s %8s\n", "", "ok", "refused", "failed", "time", "of least", "p50", "p99")
	for _, r := range reports {
		share := "-"
		if r.OK == o.calls && o.last == 0 && r.ShareOfLeast > 0 {
			share = fmt.Sprintf("%.*f %%", map[bool]int{true: 1}[r.ShareOfLeast < 10], 100*r.ShareOfLeast)
		}
		fmt.Fprintf(w, "%-30s %6d %8d %7d %8s %9s %8s %8s\n", r.Name, r.OK, r.Refused, r.Failed,
			short(r.Time()), share, short(seconds(r.P50)), short(seconds(r.P99)))
	}
	printErrors(w, reports)
	return nil
}

// printErrors prints how often each error came, with what to do if that is
// plain.
func printErrors(w io.Writer, reports []report) {
	var lines []string
	for _, r := range reports {
		for code, n := range r.Errors {
			lines = append(lines, fmt.Sprintf("%s: %d × %s%s", r.Name, n, code, hints[code]))
		}
	}
	if len(lines) > 0 {
		slices.Sort(lines)
		fmt.Fprintf(w, "\n%s\n", strings.Join(lines, "\n"))
	}
}

// hints say what to do about an error of the proxy.
var hints = map[string]string{
	string(proxy.CodePortalNotNamed):   " (name the portal with -portal)",
	string(proxy.CodePortalNotAllowed): " (is -portal right, and listed in B24PROXY_PORTALS?)",
}

func printHead(w io.Writer, o options) {
	if o.last > 0 {
		fmt.Fprintf(w, "%d callers for %v\n\n", o.calls, o.last)
		return
	}
	least := o.least()
	fmt.Fprintf(w, "%d calls at once; plan %v (burst %d, rate %g per second); the portal runs %g times as fast as real time\n", o.calls, o.plan, o.plan.Burst, o.plan.Rate, o.speed)
	fmt.Fprintf(w, "least possible time, (calls - burst) / rate: %s for the portal, %s here\n\n", short(least), short(o.real(least)))
}

// least is the shortest time, in the portal's time, in which a portal can take
// the calls: its burst at once, the rest at its rate.
func (o options) least() time.Duration {
	return seconds(max(0, float64(o.calls-o.plan.Burst)) / o.plan.Rate)
}

// real converts the portal's time into real time.
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

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
)

const usage = `b24bench sends the same calls at once straight to a simulated portal, through
b24proxy, and through b24proxy that joins reads, and prints a table of the three.
With -proxy it sends them through a proxy that runs already.

`

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

	overhead, peers, memory bool
	soak                    time.Duration
}

// parse reads the command line. If it asks for help, parse writes the help to
// stdout and returns flag.ErrHelp.
func parse(args []string, stdout io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("b24bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says what is wrong
	plan := flags.String("plan", "standard", "plan of the portal: standard, enterprise or `RATE/BURST`")
	o.define(flags)
	err = flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		fmt.Fprint(stdout, usage)
		flags.PrintDefaults()
	}
	if err != nil {
		return o, err
	}
	if o.proxy != "" && !isSet(flags, "speed") {
		o.speed = 1
	}
	if o.overhead {
		o.calls, o.last = unlessSet(flags, "n", o.calls, overheadCallers), unlessSet(flags, "for", o.last, overheadRound)
	}
	if o.peers {
		o.calls, o.last = unlessSet(flags, "n", o.calls, peerGreedy), unlessSet(flags, "for", o.last, peerRound)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if o.plan, err = limiter.ParsePlan(*plan); err != nil {
		return o, err
	}
	return o, o.check()
}

func (o *options) define(flags *flag.FlagSet) {
	flags.IntVar(&o.calls, "n", 200, "`number` of calls at once")
	flags.Float64Var(&o.speed, "speed", 10, "how many `times` faster than real time the portal's time passes; with -proxy: 1 by default")
	flags.TextVar((*b24sim.Duration)(&o.jitter), "jitter", b24sim.Duration(0), "delay each call by a random time of at most this `duration`, in the portal's time")
	flags.Uint64Var(&o.seed, "seed", 0, "`seed` of the portal's tick and jitter; 0: a random one")
	flags.StringVar(&o.proxy, "proxy", "", "`address` of a running proxy, http://HOST:PORT; without B24PROXY_UPSTREAM it needs -portal too")
	flags.StringVar(&o.portal, "portal", "", "`host` of the portal to call through -proxy, sent as B24-Portal")
	flags.StringVar(&o.path, "path", "/rest/1/b24bench/crm.deal.list", "`path` of the calls")
	flags.TextVar((*b24sim.Duration)(&o.last), "for", b24sim.Duration(0), "keep -n callers calling for this `duration`, each with one call after the other")
	flags.BoolVar(&o.mix, "mix", false, "mix reads, writes, batches and wrong calls; the simulated portal fails now and then")
	flags.BoolVar(&o.overhead, "overhead", false, "measure what b24proxy costs beside a bare httputil.ReverseProxy where no limit is in force, also under the load of wrk if that is installed; -n is the number of callers, -for the time of a round")
	flags.BoolVar(&o.peers, "peers", false, "compare b24proxy with a bare httputil.ReverseProxy, nginx and haproxy, as far as they are installed; -n is the number of greedy callers, -for the time with a limit")
	flags.BoolVar(&o.memory, "memory", false, "measure the memory that b24proxy takes for each portal and for each waiting call")
	flags.TextVar((*b24sim.Duration)(&o.soak), "soak", b24sim.Duration(0), "call at full speed for this `duration` while the portal fails and restarts and callers hang up; fail if a call is lost or doubled, or if memory, goroutines or file descriptors grow")
	flags.BoolVar(&o.json, "json", false, "print JSON")
}

// unlessSet returns another value for a flag that is not set.
func unlessSet[T any](flags *flag.FlagSet, name string, value, other T) T {
	if isSet(flags, name) {
		return value
	}
	return other
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// check says what is wrong with the options and what is allowed.
func (o *options) check() error {
	switch proxy, err := url.Parse(o.proxy); {
	case o.plan.Unlimited():
		return errors.New("-plan: without a limit there is nothing to show")
	case o.plan.Rate != float64(int(o.plan.Rate)):
		return fmt.Errorf("-plan: the simulated portal takes whole calls per second, not %g", o.plan.Rate)
	case o.calls < 1 || o.calls > 100_000:
		return fmt.Errorf("-n %d: want 1 to 100000", o.calls)
	case !(o.speed >= 0.1 && o.speed <= 1000):
		return fmt.Errorf("-speed %g: want 0.1 to 1000", o.speed)
	case o.last < 0 || o.last > time.Hour:
		return fmt.Errorf("-for %v: want 0s to 1h", o.last)
	case o.proxy != "" && (err != nil || proxy.Host == "" || proxy.Scheme != "http" && proxy.Scheme != "https"):
		return fmt.Errorf("-proxy %q: want http://HOST:PORT", o.proxy)
	case o.portal != "" && o.proxy == "":
		return errors.New("-portal: only a proxy of -proxy needs it")
	case !strings.HasPrefix(o.path, "/"):
		return fmt.Errorf("-path %q: want a path such as /rest/1/CODE/crm.deal.list", o.path)
	}
	return nil
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"b24proxy/proxy/b24sim"
)

// options are the command line.
type options struct {
	listen, manage string
	cert, key      string
	verbose        bool
	config         b24sim.Config
}

// parse reads the command line. Every wrong value is told with what is allowed.
// Asked for help, it writes that to help and returns flag.ErrHelp.
func parse(args []string, help io.Writer) (options, error) {
	o := options{}
	c := &o.config
	flags := flag.NewFlagSet("b24sim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run's error says what is wrong
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8090", "`address` of the portal; port 0 takes a free one")
	flags.StringVar(&o.manage, "manage", "127.0.0.1:8091", "`address` of the management listener")
	flags.StringVar(&o.cert, "tls-cert", "", "serve the portal over TLS with this certificate `file` (PEM)")
	flags.StringVar(&o.key, "tls-key", "", "key `file` of -tls-cert")
	flags.BoolVar(&o.verbose, "v", false, "log each call to standard error, without secrets")

	plan := flags.String("plan", "standard", "rate limit: standard (2/50), enterprise (5/250), unlimited or `RATE/BURST`")
	flags.BoolVar(&c.RefusedCount, "refused-count", true, "refused requests count too")
	flags.BoolVar(&c.PerAddress, "per-address", false, "a counter for each source IP")
	flags.Float64Var(&c.Speed, "speed", 1, "virtual `seconds` that pass in a real one")
	flags.DurationVar(&c.Jitter, "jitter", 0, "calls arrive later by a random 0 to this `duration` (virtual)")
	flags.DurationVar(&c.Latency, "latency", 0, "what each call takes (a virtual `duration`)")
	flags.Uint64Var(&c.Seed, "seed", 0, "`seed` of the tick's phase, the jitter and the faults; 0 is random")
	flags.Func("fault", "a fault, `METHOD:KIND[=VALUE][:OPTION]...`; may be repeated; kinds: "+
		strings.Join(b24sim.Kinds(), ", ")+" or any code of a system error; options: SHARE (0.1), first=N, status=N, before, after, documented",
		func(s string) error {
			f, err := b24sim.ParseFault(s)
			c.Faults = append(c.Faults, f)
			return err
		})

	flags.Func("operating", "`mode` of the operating-time limit: none (default), documented or banning", text(&c.Operating.Mode))
	flags.DurationVar(&c.Operating.Limit, "operating-limit", 480*time.Second, "operating time a method has in ten minutes (a virtual `duration`)")
	flags.Func("operating-batch", "what a batch charges: inner (`who`, the methods inside; default) or outer (the method batch)", text(&c.Operating.Batch))
	flags.Func("operating-fields", "`which` of the fields answers have: none, operating or both; default what the mode implies", text(&c.Operating.Fields))
	flags.Func("charge", "book so much for each call of a method: `METHOD=DURATION`; may be repeated", func(s string) error {
		method, value, _ := strings.Cut(s, "=")
		d, err := time.ParseDuration(value)
		if method == "" || err != nil {
			return errors.New("want METHOD=DURATION such as crm.item.list=30s")
		}
		if c.Operating.Charge == nil {
			c.Operating.Charge = make(map[string]time.Duration)
		}
		c.Operating.Charge[method] = d
		return nil
	})

	flags.Func("token", "an OAuth `token` or webhook code that is let in; may be repeated; none: any is", func(s string) error {
		c.Tokens = append(c.Tokens, s)
		return nil
	})
	flags.StringVar(&c.UnknownToken, "unknown-token", "NO_AUTH_FOUND", "`code` for any other token")
	flags.IntVar(&c.Items, "items", 137, "length of each list")
	flags.StringVar(&c.RenamedTo, "renamed-to", "", "the portal has moved: 302 to this `address` for every other host")

	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(help)
		fmt.Fprintln(help, "b24sim serves a simulated Bitrix24 portal.")
		flags.PrintDefaults()
	}
	if err != nil {
		return options{}, err
	}
	return o, o.finish(*plan, flags.Args())
}

// finish checks what the flags cannot check one by one.
func (o *options) finish(plan string, rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: b24sim takes flags only", rest[0]))
	}
	if (o.cert == "") != (o.key == "") {
		errs = append(errs, errors.New("-tls-cert and -tls-key: want both or none"))
	}
	var err error
	if o.config.Rate, o.config.Burst, err = b24sim.ParsePlan(plan); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, o.config.Validate())...)
}

// text reads a named value; Config.Validate knows which names there are.
func text[T ~string](to *T) func(string) error {
	return func(s string) error {
		*to = T(s)
		return nil
	}
}

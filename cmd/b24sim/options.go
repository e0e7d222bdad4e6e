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

const usage = `b24sim serves a simulated Bitrix24 portal. Durations marked (virtual) are in the
portal's time, which -speed makes faster than real time.

`

// options are the command line.
type options struct {
	listen, manage string
	cert, key      string
	verbose        bool
	plan           string
	config         b24sim.Config
}

// parse reads the command line. Its error says what each wrong value must be. If
// the command line asks for help, parse writes the help to stdout and returns
// flag.ErrHelp.
func parse(args []string, stdout io.Writer) (options, error) {
	o := options{config: b24sim.Config{Operating: b24sim.Operating{Limit: 480 * time.Second}}}
	flags := flag.NewFlagSet("b24sim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says what is wrong
	o.listenFlags(flags)
	o.portalFlags(flags)
	o.operatingFlags(flags)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		fmt.Fprint(stdout, usage)
		flags.PrintDefaults()
		fmt.Fprint(stdout, "\n", b24sim.FaultManual())
	}
	if err != nil {
		return options{}, err
	}
	return o, o.finish(flags.Args())
}

func (o *options) listenFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8090", "`address` of the portal; port 0 takes a free one")
	flags.StringVar(&o.manage, "manage", "127.0.0.1:8091", "`address` of the management listener")
	flags.StringVar(&o.cert, "tls-cert", "", "serve the portal over TLS with the certificate in this `file` (PEM)")
	flags.StringVar(&o.key, "tls-key", "", "`file` with the key of -tls-cert")
	flags.BoolVar(&o.verbose, "v", false, "log each call to standard error, without secrets")
}

func (o *options) portalFlags(flags *flag.FlagSet) {
	c := &o.config
	flags.StringVar(&o.plan, "plan", "standard", "rate limit: standard (2/50), enterprise (5/250), unlimited or `RATE/BURST`")
	flags.BoolVar(&c.RefusedCount, "refused-count", true, "refused calls count too")
	flags.BoolVar(&c.PerAddress, "per-address", false, "count the calls of each source IP apart")
	flags.Float64Var(&c.Speed, "speed", 1, "virtual `seconds` that pass in a real second")
	flags.TextVar((*b24sim.Duration)(&c.Jitter), "jitter", b24sim.Duration(0), "delay each call by a random time of at most this `duration` (virtual)")
	flags.TextVar((*b24sim.Duration)(&c.Latency), "latency", b24sim.Duration(0), "`duration` of each call (virtual)")
	flags.Uint64Var(&c.Seed, "seed", 0, "`seed` of the tick's phase, the jitter and the faults; 0: a random one")
	flags.Func("fault", "make calls fail: `METHOD:KIND[=VALUE][:OPTION]...`, see below; may be repeated", func(s string) error {
		f, err := b24sim.ParseFault(s)
		c.Faults = append(c.Faults, f)
		return err
	})
	flags.Func("token", "accept this OAuth `token` or webhook code; may be repeated; without it, any is accepted", func(s string) error {
		c.Tokens = append(c.Tokens, s)
		return nil
	})
	flags.StringVar(&c.UnknownToken, "unknown-token", "NO_AUTH_FOUND", "error `code` for any other token")
	flags.IntVar(&c.Items, "items", 137, "length of each list")
	flags.BoolVar(&c.Echo, "echo", false, "reads answer with their method and parameters, as the portal understood them")
	flags.BoolVar(&c.Filter, "filter", false, "filter input: change text that looks like script or SQL, but not in JSON")
	flags.StringVar(&c.RenamedTo, "renamed-to", "", "the portal was renamed: answer 302 to this `address` on every other host")
}

func (o *options) operatingFlags(flags *flag.FlagSet) {
	c := &o.config.Operating
	flags.Func("operating", "`mode` of the operating-time limit: none (default), documented or banning", text(&c.Mode))
	flags.TextVar((*b24sim.Duration)(&c.Limit), "operating-limit", b24sim.Duration(c.Limit), "operating time of a method within ten minutes, a `duration` (virtual)")
	flags.Func("operating-batch", "`what` a batch charges: inner (the methods inside; default) or outer (the method batch)", text(&c.Batch))
	flags.Func("operating-fields", "`fields` of operating time in answers: none, operating or both; default: as the mode has them", text(&c.Fields))
	flags.Func("charge", "add this operating time for each call of a method: `METHOD=DURATION`; may be repeated", func(s string) error {
		method, value, _ := strings.Cut(s, "=")
		var d b24sim.Duration
		if err := d.UnmarshalText([]byte(value)); method == "" || err != nil {
			return errors.New("want METHOD=DURATION such as crm.item.list=30s")
		}
		if c.Charge == nil {
			c.Charge = make(map[string]time.Duration)
		}
		c.Charge[method] = time.Duration(d)
		return nil
	})
}

// finish checks what the flags cannot check one by one.
func (o *options) finish(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: b24sim takes flags only", rest[0]))
	}
	if (o.cert == "") != (o.key == "") {
		errs = append(errs, errors.New("-tls-cert and -tls-key: want both or none"))
	}
	var err error
	if o.config.Rate, o.config.Burst, err = b24sim.ParsePlan(o.plan); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, o.config.Validate())...)
}

// text reads a name; Config.Validate knows which names exist.
func text[T ~string](to *T) func(string) error {
	return func(s string) error {
		*to = T(s)
		return nil
	}
}

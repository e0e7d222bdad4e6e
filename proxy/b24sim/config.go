package b24sim

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says what kind of portal is simulated. Its zero value is a portal
// without any limit that never fails. Durations are virtual.
type Config struct {
	// A request that would raise the counter above Burst is refused. The counter
	// falls by Rate once a second. Both 0: no limit.
	Burst, Rate int
	// RefusedCount makes refused requests count too. Whether they do at a real
	// portal is not documented.
	RefusedCount bool
	// PerAddress gives every source IP its own counter, as a portal does; without
	// it all callers share one.
	PerAddress bool
	// Jitter delays each arrival by a random time from 0 to Jitter before the
	// counter sees it.
	Jitter time.Duration
	// Latency is the time that every call takes.
	Latency time.Duration
	// Speed is how many virtual seconds pass in a real one; 0 means 1.
	Speed float64
	// Seed fixes the phase of the tick, the jitter and the shares of faults. 0
	// takes a random seed, which [Portal.Seed] returns.
	Seed uint64
	// Operating is the limit on operating time.
	Operating Operating
	// Faults are in force from the start.
	Faults []Fault

	// Tokens are the OAuth tokens and webhook codes that the portal accepts beside
	// those from /oauth/token; empty: it accepts any.
	Tokens []string
	// UnknownToken is the error code for any other token; "" is NO_AUTH_FOUND. An
	// unknown webhook gets INVALID_CREDENTIALS.
	UnknownToken string
	// Application is the value of X-Bitrix-Rest-Application in answers to OAuth
	// calls; "" is local.b24sim. Applications has other values by token.
	Application  string
	Applications map[string]string

	// Items is the length of each list; 0 means 137.
	Items int
	// ItemBytes is the number of bytes that pad each item of a list.
	ItemBytes int
	// Echo makes the result of every v2 read its method and its parameters as the
	// portal understood them: {"method":…,"params":…}. Integers are text.
	Echo bool
	// Filter switches on the filter of input, which changes text that looks like
	// script or SQL in queries, forms and the commands of a batch, but not in JSON.
	Filter bool
	// RenamedTo is the new address (scheme and host) of a renamed portal:
	// requests to any other host get a 302 to it. "": not renamed.
	RenamedTo string
	// Log gets a line for every call, without secrets; nil: no log.
	Log *slog.Logger
}

// Validate returns all faults of c, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.Burst < 0 || c.Rate < 0 || (c.Burst == 0) != (c.Rate == 0) {
		errs = append(errs, fmt.Errorf("burst %d and rate %d: want both at least 1, or both 0 for no limit", c.Burst, c.Rate))
	}
	if c.Jitter < 0 {
		errs = append(errs, fmt.Errorf("jitter %v: want 0 or more", c.Jitter))
	}
	if c.Latency < 0 {
		errs = append(errs, fmt.Errorf("latency %v: want 0 or more", c.Latency))
	}
	if !(c.Speed == 0 || c.Speed >= 0.001 && c.Speed <= 100_000) {
		errs = append(errs, fmt.Errorf("speed %v: want 0.001 to 100000 (virtual seconds per real second)", c.Speed))
	}
	if c.Items < 0 || c.ItemBytes < 0 {
		errs = append(errs, fmt.Errorf("items %d, item bytes %d: want 0 or more", c.Items, c.ItemBytes))
	}
	if _, ok := findCode(c.UnknownToken); c.UnknownToken != "" && !ok {
		errs = append(errs, fmt.Errorf("unknown-token code %q: want one of %s", c.UnknownToken, strings.Join(Codes(), ", ")))
	}
	if u, err := url.Parse(c.RenamedTo); c.RenamedTo != "" && (err != nil || u.Host == "" || u.Scheme == "") {
		errs = append(errs, fmt.Errorf("renamed-to %q: want an address such as https://new.example.com", c.RenamedTo))
	}
	if err := c.Operating.validate(); err != nil {
		errs = append(errs, err)
	}
	for _, f := range c.Faults {
		if err := f.validate(); err != nil {
			errs = append(errs, fmt.Errorf("fault %s: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

// ParsePlan reads the name of a plan, or RATE/BURST such as 2/50.
func ParsePlan(s string) (rate, burst int, err error) {
	switch s {
	case "standard":
		return 2, 50, nil
	case "enterprise":
		return 5, 250, nil
	case "unlimited":
		return 0, 0, nil
	}
	before, after, ok := strings.Cut(s, "/")
	rate, err1 := strconv.Atoi(before)
	burst, err2 := strconv.Atoi(after)
	if !ok || err1 != nil || err2 != nil || rate < 1 || burst < 1 {
		return 0, 0, fmt.Errorf("plan %q: want standard, enterprise, unlimited or RATE/BURST such as 2/50", s)
	}
	return rate, burst, nil
}

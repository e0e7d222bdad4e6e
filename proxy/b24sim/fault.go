package b24sim

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is a failure that a portal simulates for some of its calls. Its text
// form, which ParseFault reads, is
//
//	METHOD:KIND[=VALUE][:OPTION]...
//
// for example
//
//	crm.deal.add:reset-after:0.1             a tenth of the calls runs, then the connection is reset
//	*:QUERY_LIMIT_EXCEEDED:first=3           the first three calls are refused
//	crm.*:OVERLOAD_LIMIT:documented          with the documented status, not the one the source sends
//	crm.deal.add:error=null:status=200       a code that is not a word
//	*.list:slow=20s                          every list takes 20 virtual seconds
//
// METHOD is a name or a pattern with *, in any case. It is also compared with
// the commands inside a batch, where only codes, error, slow, php-fatal, bad-utf8 and
// leftover have an effect.
// FaultManual explains kinds and options; the portal's seed draws the shares.
//
// If several faults match one call, the first applies; the slow ones add up.
type Fault struct {
	Method     string  // name or pattern; "" is the same as "*"
	Kind       string  // a code of the system errors, or one of Kinds
	Value      string  // what the kind needs, else ""
	Share      float64 // of the matching calls; 0 is the same as 1
	First      int     // only the first calls; 0: all
	Status     int     // HTTP status instead of the kind's own; 0: its own
	Run        Run     // whether the method runs although the call fails
	Documented bool    // a code is sent with its documented status
}

// Run says whether the method of a call runs although the call fails.
type Run string

const (
	RunDefault Run = ""       // as the kind says
	RunBefore  Run = "before" // the fault strikes before the method runs
	RunAfter   Run = "after"  // the method runs, then the fault strikes
)

// kind describes a fault that is not a code.
type kind struct {
	name   string
	value  string // what may follow the =; "": nothing
	status int    // of the answer; 0: the call's own
	after  bool   // the method runs unless the fault says before
	fixed  bool   // and the fault cannot change that
	inside bool   // it also strikes a command inside a batch
	about  string
}

var kinds = []kind{
	{"html", "", 502, false, false, false, "a stock page of nginx; status=N chooses another one"},
	{"site-closed", "", 200, false, false, false, "the page \"site under construction\", with status 200"},
	{"login-page", "", 200, false, false, false, "the login form, with status 200"},
	{"php-fatal", "", 500, true, false, true, "the text of a fatal error of PHP; in a batch it ends all"},
	{"empty", "", 503, false, false, false, "an answer without a body"},
	{"truncated", "", 0, true, false, false, "a complete HTTP answer with half of the JSON"},
	{"cut", "", 0, true, false, false, "the connection closes in the middle of the body"},
	{"reset-before", "", 0, false, true, false, "the connection is reset; the method did not run"},
	{"reset-after", "", 0, true, true, false, "the connection is reset; the method ran"},
	{"bom", "", 0, true, true, false, "a byte-order mark in front of the answer"},
	{"gzip", "always", 0, true, true, false, "the answer is compressed, if the caller accepts that or always"},
	{"slow", "DURATION", 0, true, true, true, "the method runs at once, the answer comes this (virtual) time later"},
	{"error", "JSON", 400, false, false, true, "a flat error; JSON is the value of its error field, such as null or 5"},
	{"bad-utf8", "", 0, true, false, true, "the result has bad UTF-8, so the whole answer is WRONG_ENCODING, of a batch too"},
	{"leftover", "CODE", 0, true, true, true, "in a batch: an exception is left over, so errors of later commands have this code"},
}

func findKind(name string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return kinds[i], true
}

// Kinds lists what a Fault can be besides a code: names, with the value that
// may follow "=".
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	return names
}

func (k kind) String() string {
	if k.value == "" {
		return k.name
	}
	return k.name + "=" + k.value
}

// FaultManual explains the kinds and options of faults, for people who write
// them.
func FaultManual() string {
	var b strings.Builder
	b.WriteString("A fault is METHOD:KIND[=VALUE][:OPTION]..., such as crm.deal.add:reset-after:0.1.\n" +
		"METHOD is a name or a pattern with *. KIND is the code of a system error or one of\n\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "  %-15s %s\n", k, k.about)
	}
	b.WriteString(`
The options are

  0.1             a share of the calls, above 0 and up to 1
  first=N         only the first N calls
  status=N        another HTTP status
  before, after   whether the method runs before the call fails
  documented      a code comes with its documented status, not the one that the server sends
`)
	return b.String()
}

// Codes lists the system errors that a Fault can be.
func Codes() []string {
	var names []string
	for _, c := range codes {
		names = append(names, c.name)
	}
	return names
}

// ParseFault reads the text form of a Fault.
func ParseFault(s string) (Fault, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || parts[0] == "" {
		return Fault{}, fmt.Errorf("fault %q: want METHOD:KIND[=VALUE][:OPTION]..., for example crm.deal.add:reset-after:0.1", s)
	}
	f := Fault{Method: parts[0]}
	f.Kind, f.Value, _ = strings.Cut(parts[1], "=")
	for _, option := range parts[2:] {
		if err := f.option(option); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
	}
	if err := f.validate(); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

func (f *Fault) option(s string) error {
	name, value, _ := strings.Cut(s, "=")
	var err error
	switch name {
	case "before", "after":
		f.Run = Run(name)
	case "documented":
		f.Documented = true
	case "first":
		f.First, err = strconv.Atoi(value)
	case "status":
		f.Status, err = strconv.Atoi(value)
	default:
		f.Share, err = strconv.ParseFloat(s, 64)
		if err == nil && f.Share == 0 { // would mean every call
			err = strconv.ErrRange
		}
	}
	if err != nil {
		return fmt.Errorf("option %q: want a share above 0 up to 1, first=N, status=N, before, after or documented", s)
	}
	return nil
}

// String is the text form, which ParseFault reads.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.pattern() + ":" + f.Kind)
	if f.Value != "" {
		b.WriteString("=" + f.Value)
	}
	if f.Share != 0 && f.Share != 1 {
		b.WriteString(":" + strconv.FormatFloat(f.Share, 'g', -1, 64))
	}
	if f.First != 0 {
		b.WriteString(":first=" + strconv.Itoa(f.First))
	}
	if f.Status != 0 {
		b.WriteString(":status=" + strconv.Itoa(f.Status))
	}
	if f.Run != RunDefault {
		b.WriteString(":" + string(f.Run))
	}
	if f.Documented {
		b.WriteString(":documented")
	}
	return b.String()
}

func (f Fault) pattern() string {
	if f.Method == "" {
		return "*"
	}
	return strings.ToLower(f.Method)
}

func (f Fault) validate() error {
	if _, err := path.Match(f.pattern(), ""); err != nil {
		return fmt.Errorf("method %q: want a method's name, * for all, or a pattern such as crm.*", f.Method)
	}
	if f.Share < 0 || f.Share > 1 {
		return fmt.Errorf("share %v: want above 0 up to 1", f.Share)
	}
	if f.First < 0 {
		return fmt.Errorf("first=%d: want 1 or more", f.First)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("status=%d: want 200 to 599", f.Status)
	}
	if f.Run != RunDefault && f.Run != RunBefore && f.Run != RunAfter {
		return fmt.Errorf("run %q: want before or after", f.Run)
	}
	if _, ok := findCode(f.Kind); ok {
		if f.Value != "" {
			return fmt.Errorf("%s takes no value", f.Kind)
		}
		return nil
	}
	k, ok := findKind(f.Kind)
	if !ok {
		return fmt.Errorf("kind %q: want one of %s, or a code: %s",
			f.Kind, strings.Join(Kinds(), ", "), strings.Join(Codes(), ", "))
	}
	return f.validateKind(k)
}

func (f Fault) validateKind(k kind) error {
	if f.Documented {
		return fmt.Errorf("only codes take documented, %s does not", k.name)
	}
	if k.fixed && f.Run != RunDefault {
		return fmt.Errorf("%s does not take before or after", k.name)
	}
	switch k.value {
	case "":
		if f.Value != "" {
			return fmt.Errorf("%s takes no value", k.name)
		}
	case "DURATION":
		if d, err := time.ParseDuration(f.Value); err != nil || d <= 0 {
			return fmt.Errorf("%s=%s: want a duration such as 20s", k.name, f.Value)
		}
	case "CODE":
		if f.Value == "" {
			return fmt.Errorf("%s: want %[1]s=CODE such as %[1]s=ERROR_CORE", k.name)
		}
	case "JSON":
		if !json.Valid([]byte(f.Value)) {
			return fmt.Errorf(`%s=%s: want a JSON value such as null, "" or 200040300020`, k.name, f.Value)
		}
	default:
		if f.Value != "" && f.Value != k.value {
			return fmt.Errorf("%s=%s: want %s=%s or %[1]s alone", k.name, f.Value, k.name, k.value)
		}
	}
	return nil
}

// runs reports whether the method runs although f strikes.
func (f Fault) runs() bool {
	if f.Run != RunDefault {
		return f.Run == RunAfter
	}
	if c, ok := findCode(f.Kind); ok {
		return c.ran
	}
	k, _ := findKind(f.Kind)
	return k.after
}

// strikesInside reports whether f strikes a command inside a batch.
func (f Fault) strikesInside() bool {
	k, ok := findKind(f.Kind)
	return k.inside || !ok
}

// status is the status of the answer; 0 means the call's own.
func (f Fault) status() int {
	if f.Status != 0 {
		return f.Status
	}
	k, _ := findKind(f.Kind)
	return k.status
}

// failure is the API's error that f stands for, or nil.
func (f Fault) failure(version int) *failure {
	var out *failure
	switch c, ok := findCode(f.Kind); {
	case ok && f.Documented:
		c.sent = c.documented
		fallthrough
	case ok:
		out = c.failure().forVersion(version)
	case f.Kind == "error":
		out = &failure{code: json.RawMessage(f.Value), text: "Simulated error", status: f.status()}
	default:
		return nil
	}
	if f.Status != 0 {
		out.status = f.Status
	}
	return out
}

package b24sim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// manual is the answer of the management listener at /.
const manual = `b24sim: management of a simulated Bitrix24 portal

GET    /stats                 how many calls arrived, were refused and ran; the counter
GET    /calls                 the log, with secrets masked; ?method= ?since=SEQ ?limit=N
GET    /faults                the faults in force, one per line
PUT    /faults                replace them: METHOD:KIND[=VALUE][:OPTION]... one per line
POST   /faults                add some; all start to count from the beginning
DELETE /faults                remove all
GET    /config                the settings that can be changed
PUT    /config                change the settings that the JSON body names
POST   /spend?n=N             another program sends N requests under the same limit
POST   /reset                 forget all calls, empty every counter
`

// Management is a handler for its own listener, apart from the portal's. It needs
// no password, so serve it where only the tester can reach it.
func (p *Portal) Management() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, manual)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, p.stats()) })
	mux.HandleFunc("GET /calls", p.manageCalls)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeFaults(w, p.Config().Faults) })
	mux.HandleFunc("PUT /faults", p.manageFaults)
	mux.HandleFunc("POST /faults", p.manageFaults)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		p.SetFaults()
		writeFaults(w, nil)
	})
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, settingsOf(p.Config())) })
	mux.HandleFunc("PUT /config", p.manageConfig)
	mux.HandleFunc("POST /spend", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n < 1 || n > 1_000_000 {
			http.Error(w, fmt.Sprintf("n=%q: want 1 to 1000000", r.FormValue("n")), http.StatusBadRequest)
			return
		}
		p.Spend(n)
		writeJSON(w, p.stats())
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		p.Reset()
		writeJSON(w, p.stats())
	})
	return mux
}

// stats is a summary of what happened.
type stats struct {
	Arrived int            `json:"arrived"`
	Refused int            `json:"refused"`
	Ran     map[string]int `json:"ran"`   // by method, in lower case
	Level   int            `json:"level"` // the counter of the rate limit
	Burst   int            `json:"burst"` // calls at once
	Rate    int            `json:"rate"`  // calls per second
	Seed    uint64         `json:"seed"`
	Elapsed Duration       `json:"elapsed"` // virtual time since the start
}

func (p *Portal) stats() stats {
	level := p.Level()
	p.mu.Lock()
	defer p.mu.Unlock()
	return stats{
		Arrived: p.arrived,
		Refused: p.refused,
		Ran:     maps.Clone(p.ran),
		Level:   level,
		Burst:   p.config.Burst,
		Rate:    p.config.Rate,
		Seed:    p.seed,
		Elapsed: Duration(p.clock.now()),
	}
}

// shownCall is a call with its body as text.
type shownCall struct {
	Call
	Body string `json:"body"`
}

func (p *Portal) manageCalls(w http.ResponseWriter, r *http.Request) {
	since, limit := 0, 1000
	for name, value := range map[string]*int{"since": &since, "limit": &limit} {
		if s := r.FormValue(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				http.Error(w, fmt.Sprintf("%s=%q: want a number from 0", name, s), http.StatusBadRequest)
				return
			}
			*value = n
		}
	}
	method := strings.ToLower(r.FormValue("method"))
	shown := []shownCall{}
	for _, c := range p.callsSince(since) {
		if len(shown) == limit {
			break
		}
		if method == "" || method == c.Method {
			c = c.Masked()
			shown = append(shown, shownCall{c, string(c.Body)})
		}
	}
	writeJSON(w, shown)
}

// maxManaged bounds what the management listener reads.
const maxManaged = 1 << 20

func (p *Portal) manageFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManaged))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var faults []Fault
	if r.Method == http.MethodPost {
		faults = p.Config().Faults
	}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f, err := ParseFault(line)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		faults = append(faults, f)
	}
	p.SetFaults(faults...)
	writeFaults(w, faults)
}

func writeFaults(w http.ResponseWriter, faults []Fault) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, f := range faults {
		_, _ = fmt.Fprintln(w, f) // the caller may have left
	}
}

// settings are the parts of Config that can be changed while the portal runs.
type settings struct {
	Burst        int               `json:"burst"`
	Rate         int               `json:"rate"`
	RefusedCount bool              `json:"refused_count"`
	PerAddress   bool              `json:"per_address"`
	Jitter       Duration          `json:"jitter"`
	Latency      Duration          `json:"latency"`
	Speed        float64           `json:"speed"`
	Operating    operatingSettings `json:"operating"`
	Items        int               `json:"items"`
	ItemBytes    int               `json:"item_bytes"`
	UnknownToken string            `json:"unknown_token"`
	Echo         bool              `json:"echo"`
	Filter       bool              `json:"filter"`
	RenamedTo    string            `json:"renamed_to"`
}

type operatingSettings struct {
	Mode   OperatingMode       `json:"mode"`
	Limit  Duration            `json:"limit"`
	Batch  BatchCharge         `json:"batch"`
	Fields OperatingFields     `json:"fields"`
	Charge map[string]Duration `json:"charge"`
}

func settingsOf(c Config) settings {
	o := operatingSettings{c.Operating.Mode, Duration(c.Operating.Limit), c.Operating.Batch, c.Operating.Fields, map[string]Duration{}}
	for method, d := range c.Operating.Charge {
		o.Charge[method] = Duration(d)
	}
	return settings{c.Burst, c.Rate, c.RefusedCount, c.PerAddress, Duration(c.Jitter), Duration(c.Latency), c.Speed,
		o, c.Items, c.ItemBytes, c.UnknownToken, c.Echo, c.Filter, c.RenamedTo}
}

func (s settings) apply(c *Config) {
	c.Burst, c.Rate, c.RefusedCount, c.PerAddress = s.Burst, s.Rate, s.RefusedCount, s.PerAddress
	c.Jitter, c.Latency, c.Speed = time.Duration(s.Jitter), time.Duration(s.Latency), s.Speed
	c.Items, c.ItemBytes, c.UnknownToken, c.RenamedTo = s.Items, s.ItemBytes, s.UnknownToken, s.RenamedTo
	c.Echo, c.Filter = s.Echo, s.Filter
	o := s.Operating
	c.Operating = Operating{Mode: o.Mode, Limit: time.Duration(o.Limit), Batch: o.Batch, Fields: o.Fields,
		Charge: make(map[string]time.Duration, len(o.Charge))}
	for method, d := range o.Charge {
		c.Operating.Charge[method] = time.Duration(d)
	}
}

func (p *Portal) manageConfig(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManaged))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err = p.change(func(c *Config) error {
		s := settingsOf(*c) // a setting that the body does not name stays
		dec := json.NewDecoder(strings.NewReader(string(body)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			return fmt.Errorf("%w; GET /config shows the settings", err)
		}
		s.apply(c)
		return nil
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, settingsOf(p.Config()))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the caller may have left
}

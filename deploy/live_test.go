package deploy

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var prometheusURL = flag.String("prometheus", "",
	"address of a Prometheus that has the rules and scrapes a proxy under load; the test sends it every expression")

// silent returns the reason why an expression may return nothing under a load
// without errors, by "dashboard/panel/query" or by the name of a rule.
func silent(t *testing.T) map[string]string {
	t.Helper()
	reasons := make(map[string]string)
	for line := range strings.Lines(read(t, "testdata/silent.tsv")) {
		name, reason, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || reason == "" {
			t.Fatalf("silent.tsv: got %q, want a name and a reason", line)
		}
		reasons[name] = reason
	}
	return reasons
}

// silent.tsv names only what exists, and every alert.
func TestSilentExpressionsExist(t *testing.T) {
	known := make(map[string]bool)
	for uid, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				known[uid+"/"+p.Title+"/"+target.RefID] = true
			}
		}
	}
	for _, name := range recordingRules(t) {
		known[name] = true
	}
	reasons := silent(t)
	for name := range alerts(t) {
		known[name] = true
		if reasons[name] == "" {
			t.Errorf("got %s not in silent.tsv, want every alert there: none fires while all is well", name)
		}
	}
	for name := range reasons {
		if !known[name] {
			t.Errorf("silent.tsv: got %s, want only what exists", name)
		}
	}
}

// Every expression of every panel and rule is valid, and returns data unless
// silent.tsv has a reason. The test needs a running Prometheus.
func TestExpressionsReturnData(t *testing.T) {
	if *prometheusURL == "" {
		t.Skip("needs the address of a running Prometheus: -prometheus (.ci/live does that)")
	}
	server := live{t, *prometheusURL}
	reasons := silent(t)
	check := func(name, expr string) {
		switch has := server.hasData(expr); {
		case !has && reasons[name] == "":
			t.Errorf("%s: got no data from %s, want some", name, expr)
		case !has:
			t.Logf("%s is silent: %s", name, reasons[name])
		}
	}
	// A step of 30 s is two scrapes, and the load may end before one such step.
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range:30s", "15m:2s", "$__range", "15m",
		`portal="$portal"`, `portal="`+server.portalWithBucket()+`"`, "$portal", ".+", "$job", ".+")
	for uid, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				check(uid+"/"+p.Title+"/"+target.RefID, variables.Replace(target.Expr))
			}
		}
	}
	for _, rule := range server.rules() {
		if rule.LastError != "" {
			t.Errorf("%s: got the error %s, want none", rule.Name, rule.LastError)
		}
		check(rule.Name, rule.Query)
	}
}

// live is a running Prometheus.
type live struct {
	*testing.T
	address string
}

// sample has the labels of a series and its last value, as text.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

type rule struct{ Name, Query, LastError string }

func (l live) get(path string, params url.Values, data any) {
	l.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(l.address + path + "?" + params.Encode())
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		l.Fatal(err)
	}
	if answer.Error != "" {
		l.Fatalf("%s: %s", params.Get("query"), answer.Error)
	}
}

func (l live) query(expr string) []sample {
	l.Helper()
	var data struct{ Result []sample }
	l.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// hasData reports whether an expression returns a number; NaN does not count.
func (l live) hasData(expr string) bool {
	l.Helper()
	for _, s := range l.query(expr) {
		if s.Value[1] != "NaN" {
			return true
		}
	}
	return false
}

func (l live) portalWithBucket() string {
	l.Helper()
	for _, s := range l.query(`topk(1, b24proxy_bucket_burst)`) {
		return s.Metric["portal"]
	}
	l.Fatal("Prometheus has scraped no proxy that has a limited portal")
	return ""
}

func (l live) rules() []rule {
	l.Helper()
	var data struct {
		Groups []struct{ Rules []rule }
	}
	l.get("/api/v1/rules", nil, &data)
	var all []rule
	for _, group := range data.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		l.Fatal("Prometheus has no rules")
	}
	return all
}

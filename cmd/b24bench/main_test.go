package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"b24proxy/limiter"
)

// Without flags the program is the demonstration of the README: 200 calls, the
// standard plan, ten times real time.
func TestDefaults(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil || o.calls != 200 || o.plan != limiter.Standard || o.speed != 10 || o.jitter != 0 || o.proxy != "" || o.json {
		t.Errorf("got %+v and the error %v, want the defaults of the README", o, err)
	}
	if o.least() != 75*time.Second || o.real(o.least()) != 7500*time.Millisecond {
		t.Errorf("got the least time %v, in real time %v, want 1m15s and 7.5s", o.least(), o.real(o.least()))
	}
	o.calls = o.plan.Burst
	if o.least() != 0 {
		t.Errorf("got the least time %v for a burst, want 0", o.least())
	}
}

// Each wrong flag is refused with an error that says what is allowed.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-n 0", "-n 0"},
		{"-n 100001", "1 to 100000"},
		{"-n many", "many"},
		{"-plan gold", "gold"},
		{"-plan unlimited", "-plan"},
		{"-plan 0.5/50", "whole calls"},
		{"-speed 0", "-speed 0"},
		{"-speed 1001", "0.1 to 1000"},
		{"-speed NaN", "0.1 to 1000"},
		{"-jitter 5", "has no unit: write 5ms or 5s"},
		{"-for 2h", "0s to 1h"},
		{"-proxy 127.0.0.1:8080", "http://HOST:PORT"},
		{"-portal acme.bitrix24.com", "-proxy"},
		{"-path crm.deal.list", "such as /rest"},
		{"-seed -1", "-1"},
		{"-frob", "frob"},
		{"now", `"now"`},
	} {
		t.Run(c.args+" is refused", func(t *testing.T) {
			err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got the error %v, want %s in it", err, c.want)
			}
		})
	}
}

// -help lists the flags on standard output.
func TestHelp(t *testing.T) {
	var help strings.Builder
	if err := run(t.Context(), []string{"-help"}, &help, io.Discard); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-speed") {
		t.Errorf("got the error %v and the help %q, want flag.ErrHelp and -speed", err, help.String())
	}
}

// A running proxy is measured in real time unless -speed says that its portal is
// faster.
func TestSpeedOfARunningProxy(t *testing.T) {
	for args, want := range map[string]float64{"-proxy http://127.0.0.1:8080": 1, "-proxy http://127.0.0.1:8080 -speed 10": 10, "": 10} {
		if o, err := parse(strings.Fields(args), io.Discard); err != nil || o.speed != want {
			t.Errorf("%q: got the speed %g and the error %v, want %g", args, o.speed, err, want)
		}
	}
}

// When nothing listens at the proxy's address, the table says which address that
// is.
func TestNoProxyThere(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	var out strings.Builder
	if err := run(t.Context(), []string{"-proxy", gone.URL, "-n", "2"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := "2 × cannot connect to " + strings.TrimPrefix(gone.URL, "http://"); !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant %s in it", out.String(), want)
	}
}

// A small run shows what the proxy is for: sent straight, calls above the burst
// are refused; through the proxy none is, and all succeed.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), strings.Fields("-n 80 -speed 5 -seed 7 -json"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var reports []report
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&reports); err != nil || len(reports) != 3 {
		t.Fatalf("got %+v (%v), want three reports", reports, err)
	}
	straight, through, joined := reports[0], reports[1], reports[2]
	if straight.Refused == 0 || straight.OK+straight.Refused != 80 || straight.PortalRefused != straight.Refused {
		t.Errorf("straight: got %+v, want some refused and none failed", straight)
	}
	if through.OK != 80 || through.Refused+through.Failed+through.PortalRefused != 0 || through.Errors != nil {
		t.Errorf("through the proxy: got %+v, want 80 successes and nothing else", through)
	}
	if joined.OK != 80 || joined.Refused+joined.Failed+joined.PortalRefused != 0 || joined.Seconds > through.Seconds/2 {
		t.Errorf("with reads joined: got %+v, want 80 successes within less than half of %v s", joined, through.Seconds)
	}
	const least = 3 // seconds: (80 - 50) / 2, at five times real time
	if through.Seconds < least || through.ShareOfLeast > 1 || through.P50 > through.P99 || through.P99 > through.Seconds {
		t.Errorf("got the times %+v, want at least %d s and quantiles in order", through, least)
	}
}

// The names in the JSON do not change.
func TestJSONNames(t *testing.T) {
	content, err := json.Marshal(report{Name: "x", Errors: map[string]int{"no answer": 1}})
	const want = `{"name":"x","ok":0,"refused":0,"failed":0,"portal_refused":0,"seconds":0,"share_of_least":0,"p50":0,"p99":0,"errors":{"no answer":1}}`
	if err != nil || string(content) != want {
		t.Errorf("got %s (%v), want %s", content, err, want)
	}
}

// The table is printed as the README shows it.
func TestTable(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = printTable(&out, o, []report{
		{Name: "straight to the portal", OK: 50, Refused: 149, Failed: 1, Seconds: 0.0301, ShareOfLeast: 249, P50: 0.02, P99: 0.03, Errors: map[string]int{"PORTAL_NOT_NAMED": 1}},
		{Name: "through b24proxy", OK: 200, Seconds: 7.571, ShareOfLeast: 0.9906, P50: 2.5, P99: 7.5},
		{Name: "through b24proxy, reads joined", OK: 200, Seconds: 0.5, ShareOfLeast: 15, P50: 0.2, P99: 0.5},
	})
	const want = `200 calls at once; plan standard (burst 50, rate 2 per second); the portal runs 10 times as fast as real time
least possible time, (calls - burst) / rate: 75.00s for the portal, 7.50s here

                                   ok  refused  failed     time  of least      p50      p99
straight to the portal             50      149       1     30ms         -     20ms     30ms
through b24proxy                  200        0       0    7.57s    99.1 %    2.50s    7.50s
through b24proxy, reads joined    200        0       0    500ms    1500 %    200ms    500ms

straight to the portal: 1 × PORTAL_NOT_NAMED (name the portal with -portal)
`
	if err != nil || out.String() != want {
		t.Errorf("got (%v)\n%s\nwant\n%s", err, out.String(), want)
	}
}

// With the address of a running proxy the program starts nothing, names the
// portal, and counts refusals apart from failures.
func TestRunningProxy(t *testing.T) {
	answers := []struct {
		status int
		body   string
	}{
		{200, `{"result":[],"time":{}}`},
		{503, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`},
		{403, `{"error":"PORTAL_NOT_ALLOWED","error_description":"No"}`},
		{502, `<html>`},
	}
	var n atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("B24-Portal") != "acme.bitrix24.com" || r.URL.Path != "/rest/1/code/profile" || r.Method != http.MethodPost {
			t.Errorf("got %s %s for %q, want POST /rest/1/code/profile for acme.bitrix24.com", r.Method, r.URL, r.Header.Get("B24-Portal"))
		}
		a := answers[(n.Add(1)-1)%4]
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
	defer proxy.Close()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-n", "20", "-proxy", proxy.URL + "/", "-portal", "acme.bitrix24.com", "-path", "/rest/1/code/profile", "-json"}, &out, io.Discard)
	var reports []report
	if err != nil || json.Unmarshal(out.Bytes(), &reports) != nil || len(reports) != 1 {
		t.Fatalf("got %s (%v), want one report", out.Bytes(), err)
	}
	if r := reports[0]; r.OK != 5 || r.Refused != 5 || r.Failed != 10 || r.Errors["PORTAL_NOT_ALLOWED"] != 5 || r.Errors["HTTP 502 without JSON"] != 5 {
		t.Errorf("got %+v, want 5 successes, 5 refusals and 10 failures by code", r)
	}
}

// When it is interrupted, the program prints no table.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if err := run(ctx, []string{"-n", "5", "-speed", "100"}, &out, io.Discard); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("got the error %v and the output %q, want context.Canceled and none", err, out.String())
	}
}

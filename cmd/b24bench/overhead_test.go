package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be a child, as the program can be one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveArg {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// -overhead calls all in turn, and compares each with the bare ReverseProxy.
func TestOverhead(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), strings.Fields("-overhead -n 2 -for 20ms -json"), &out, io.Discard)
	if errors.Is(err, errNoProc) {
		t.Skip(err)
	}
	var reports []overheadReport
	if err != nil || json.Unmarshal(out.Bytes(), &reports) != nil || len(reports) != 5 {
		t.Fatalf("got %s (%v), want five reports", out.Bytes(), err)
	}
	for _, r := range reports {
		if r.Calls == 0 || r.PerSecond == 0 || r.ThroughputShare == 0 || r.SteadyP50 == 0 || r.SteadyP99 < r.SteadyP50 {
			t.Errorf("got %+v, want calls and their times", r)
		}
	}
	if bare := reports[1]; bare.ThroughputShare != 1 {
		t.Errorf("got the share %v for the bare ReverseProxy, want 1", bare.ThroughputShare)
	}
	_, err = exec.LookPath("wrk")
	for _, r := range reports {
		if isInstalled := err == nil; isInstalled != (r.Wrk != nil) || isInstalled && (r.Wrk.Calls == 0 || r.Wrk.Failed > 0 || r.Wrk.ThroughputShare == 0) {
			t.Errorf("got %+v by wrk, want calls without failures if it is installed", r.Wrk)
		}
	}
	if ours := reports[2]; ours.Failed > 0 || ours.ThroughputShare > 3 {
		t.Errorf("got %+v, want no failures and a share that can be", ours)
	}
}

// A quantile is of the calls in the order of their times, whatever the share.
func TestQuantile(t *testing.T) {
	l := load{each: []time.Duration{1, 2, 3, 4}}
	if l.quantile(0) != 1 || l.quantile(0.5) != 3 || l.quantile(1) != 4 || new(load).quantile(0.5) != 0 {
		t.Errorf("got %v, %v, %v and %v, want 1, 3, 4 and 0 for none", l.quantile(0), l.quantile(0.5), l.quantile(1), new(load).quantile(0.5))
	}
}

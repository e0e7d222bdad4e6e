package main

import (
	"strings"
	"testing"
)

// What is held for each is the difference, and never below zero.
func TestMemoryOfEach(t *testing.T) {
	before := memoryReport{Live: 1000, Resident: 5000}
	got := memoryReport{Live: 3000, Resident: 4000}.since(before, "x", 10)
	if want := (memoryReport{"x", 10, 200, 0}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The proxy for many portals trusts the portal over TLS, and calls it under each name.
func TestManyPortals(t *testing.T) {
	portal, err := startChild(roleSecure, "", unlimited)
	if err != nil {
		t.Fatal(err)
	}
	defer portal.stop()
	ours, err := startChild(roleMany, portal.base, "standard")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.stop()
	callPortals(t.Context(), ours.base, 0, 9)
	text, err := fetch(ours.admin + "/metrics")
	if n := countOf(text, `b24proxy_requests_total{outcome="ok",portal="p`, `.example.com",status_class="2xx"} 1`); err != nil || n != 9 {
		t.Errorf("got %d portals with one success (%v), want 9", n, err)
	}
	if m, err := ours.memoryNow(); err != nil || m.Live == 0 {
		t.Errorf("got %+v (%v), want the memory of the child", m, err)
	}
}

// A waiting call takes about 29 kB, of which net/http needs 26 with a ReverseProxy.
func TestWaitingCalls(t *testing.T) {
	const calls = 500
	for _, w := range waitingRoles {
		r, err := measureWaiting(t.Context(), w.role, w.name, calls)
		if err != nil || r.Live < 10_000 || r.Live > 45_000 {
			t.Errorf("%s: got %.0f bytes each (%v), want 20 to 30 thousand", w.role, r.Live, err)
		}
	}
}

// countOf is how many lines begin and end so.
func countOf(text, begin, end string) (n int) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin) && strings.HasSuffix(line, end) {
			n++
		}
	}
	return n
}

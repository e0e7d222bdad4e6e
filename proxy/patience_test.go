package proxy

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Priority is a dictionary of structured fields (RFC 9218, RFC 8941).
func TestUrgency(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  int
	}{
		{nil, 3},
		{[]string{"u=0"}, 0},
		{[]string{"u=0, u=7"}, 7},
		{[]string{"u=0", "u=7"}, 7},
		{[]string{"u=2;x"}, 2},
		{[]string{"u=2;x=1, i"}, 2},
		{[]string{"i, u=5"}, 5},
		{[]string{" u=1 ,\ti=?0 "}, 1},
		{[]string{`a="u=1, x", u=6`}, 6},
		{[]string{"u=8"}, 3},
		{[]string{"u=-1"}, 3},
		{[]string{"u=0, u=9"}, 3},
		{[]string{"u=1.0"}, 3},
		{[]string{`u="1"`}, 3},
		{[]string{"u"}, 3},
		{[]string{"u=(1)"}, 3},
		{[]string{"U=1"}, 3},
		{[]string{"u = 1"}, 3},
		{[]string{"u=1,"}, 3},
		{[]string{"u=1", "u=?"}, 3},
		{[]string{"urgent", "u=1"}, 1},
		{[]string{"u=99999999999999999999"}, 3},
	} {
		if got := urgency(http.Header{"Priority": c.lines}); got != c.want {
			t.Errorf("Priority: %q: got %d, want %d", c.lines, got, c.want)
		}
	}
}

// The first wait in Prefer (RFC 7240) counts. It can only shorten the wait, also by less
// than a second.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		lines   []string
		longest time.Duration
		want    time.Duration
	}{
		{nil, time.Minute, time.Minute},
		{[]string{"wait=10"}, time.Minute, 10 * time.Second},
		{[]string{"wait=0"}, 500 * time.Millisecond, 0},
		{[]string{"wait=1"}, 1500 * time.Millisecond, time.Second},
		{[]string{"wait=2"}, 1500 * time.Millisecond, 1500 * time.Millisecond},
		{[]string{"wait=61"}, time.Minute, time.Minute},
		{[]string{"wait=10, wait=5"}, time.Minute, 10 * time.Second},
		{[]string{"wait=10", "wait=5"}, time.Minute, 10 * time.Second},
		{[]string{"wait=soon, wait=5"}, time.Minute, time.Minute},
		{[]string{"wait, wait=5"}, time.Minute, time.Minute},
		{[]string{"respond-async, WAIT=5"}, time.Minute, 5 * time.Second},
		{[]string{"wait=10;x"}, time.Minute, 10 * time.Second},
		{[]string{`wait=10 ; x="a, wait=1"`}, time.Minute, 10 * time.Second},
		{[]string{`wait="10"`}, time.Minute, 10 * time.Second},
		{[]string{"wait = 10"}, time.Minute, 10 * time.Second},
		{[]string{`foo="a, wait=1", wait=5`}, time.Minute, 5 * time.Second},
		{[]string{`foo="\", wait=1", wait=5`}, time.Minute, 5 * time.Second},
		{[]string{`foo="a, wait=1`}, time.Minute, time.Minute},
		{[]string{`wait="1`}, time.Minute, time.Minute},
		{[]string{`wait="`}, time.Minute, time.Minute},
		{[]string{"wait=90"}, time.Minute, time.Minute},
		{[]string{"wait=-1"}, time.Minute, time.Minute},
		{[]string{"wait=+1"}, time.Minute, time.Minute},
		{[]string{"wait=1.5"}, time.Minute, time.Minute},
		{[]string{"wait=99999999999999999999"}, time.Minute, time.Minute},
		{[]string{"waiting=1"}, time.Minute, time.Minute},
	} {
		if got := patience(http.Header{"Prefer": c.lines}, c.longest); got != c.want {
			t.Errorf("Prefer: %q of %v: got %v, want %v", c.lines, c.longest, got, c.want)
		}
	}
}

// The portal gets the preferences that are not for the proxy, as they were written.
func TestOtherPreferencesPass(t *testing.T) {
	for line, want := range map[string]string{
		"wait=5":                            "[]",
		"return=minimal ,  respond-async":   "[return=minimal ,  respond-async]",
		"return=minimal, wait=5; x, strict": "[return=minimal, strict]",
		`foo="a, wait=1", Wait="5"`:         `[foo="a, wait=1"]`,
	} {
		h := http.Header{"Prefer": {line}}
		stripOwnHeaders(h, "")
		if got := fmt.Sprint(h["Prefer"]); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

package operator

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A portal's new name is logged once, and so is another one.
func TestRenamedIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	o := newTestOperator(t, func(c *Config) { c.Log = debugLog(&log) })
	for _, to := range []string{"one.bitrix24.com", "one.bitrix24.com", "two.bitrix24.com"} {
		o.Record(PortalMoved{Call{Portal: acme}, to})
	}
	if n := strings.Count(log.String(), "the portal was renamed"); n != 2 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// That a portal cannot be reached is logged once, and once that it can again.
func TestUnreachableIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newTestOperator(t, func(c *Config) { c.Log = debugLog(&log) })
		for i := range 5 {
			o.Record(PortalUnreachable{Call: Call{Portal: acme, RequestID: fmt.Sprint("r", i)}})
			time.Sleep(2 * time.Second)
		}
		for i := range 5 {
			o.Record(PortalReached{Call{Portal: acme, RequestID: fmt.Sprint("s", i)}})
		}
		text := log.String()
		if strings.Count(text, "cannot be reached") != 1 || strings.Count(text, "reachable again") != 1 || !strings.Contains(text, "request_id=r0") || !strings.Contains(text, "after=10s") {
			t.Error(text)
		}
	})
}

// Times are logged in tenths of a millisecond, as Server-Timing has them.
func TestShownDurations(t *testing.T) {
	if got, want := shown(1_234_567*time.Nanosecond), 1200*time.Microsecond; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// Reads that are sent together, or alone after all, have a line at debug.
func TestJoinedReadsAreLogged(t *testing.T) {
	var log bytes.Buffer
	o := newTestOperator(t, func(c *Config) { c.Log = debugLog(&log) })
	o.Record(Joined{Call: Call{Portal: acme}, Reads: 17})
	o.Record(SentAlone{Call: Call{Portal: acme}, Reason: "value"})
	for _, want := range []string{`level=DEBUG msg="reads are sent together"`, "reads=17", `level=DEBUG msg="a read is sent alone"`, "reason=value"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("got %s, want %s", &log, want)
		}
	}
}

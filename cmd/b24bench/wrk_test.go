package main

import (
	"testing"
	"time"
)

// The requests that wrk made, and those that failed, are read from its words.
func TestReadWrk(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want load
	}{
		"all well": {"  3407 requests in 1.10s, 11.81MB read\nRequests/sec:   3097.27\n", load{calls: 3407, took: 1100 * time.Millisecond}},
		"failures": {"  12 requests in 990.00ms, 1.81MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n", load{calls: 12, failed: 15, took: 990 * time.Millisecond}},
	} {
		got, err := readWrk(c.text)
		if err != nil || got.calls != c.want.calls || got.failed != c.want.failed || got.took != c.want.took {
			t.Errorf("%s: got %+v (%v), want %+v", name, got, err, c.want)
		}
	}
	if got, err := readWrk("unable to connect"); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}

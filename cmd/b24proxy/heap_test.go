//go:build linux

package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// The program lets its garbage grow, unless the user has set GOGC or GOMEMLIMIT, and what
// makes it grow takes no memory itself.
func TestHeapFloor(t *testing.T) {
	const floor = 16 << 20
	for _, set := range []struct{ percent, limit string }{{"", ""}, {"100", ""}, {"", "1GiB"}} {
		t.Run(fmt.Sprintf("%+v", set), func(t *testing.T) {
			t.Setenv("GOGC", set.percent)
			t.Setenv("GOMEMLIMIT", set.limit)
			p := launch(t)
			found := regexp.MustCompile(`\ngo_memstats_next_gc_bytes (\S+)`).FindSubmatch(call(t, "GET", p.admin+"/metrics", "").body)
			next, err := strconv.ParseFloat(string(found[1]), 64)
			if hasFloor := next > 2*floor; err != nil || hasFloor != (set.percent+set.limit == "") {
				t.Errorf("got the next collection at %.0f bytes (%v), want it beyond %d without settings, and only then", next, err, 2*floor)
			}
			if underRace() { // which takes memory of its own
				return
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			resident, _ := strconv.Atoi(string(regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(status)[1]))
			if resident<<10 > floor {
				t.Errorf("got %d kB of memory, want less than the floor", resident)
			}
		})
	}
}

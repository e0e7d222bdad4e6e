package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

const (
	wrkConnections = 64
	wrkThreads     = 2
	wrkRound       = time.Second // it takes whole ones
	wrkOfRounds    = 3           // one round of wrk for so many others
)

// wrkRounds loads the rivals with wrk in turn, if it is installed.
func wrkRounds(ctx context.Context, o options, rivals []*rival) error {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return nil //nolint:nilerr // the table says so
	}
	rounds := overheadRounds/wrkOfRounds + 1
	if o.last < overheadRound { // a quick look
		rounds = 2
	}
	for range rounds {
		for _, r := range rivals {
			if err := r.wrk.measure(r.child, func() (load, error) { return wrk(ctx, path, r.child.base+o.path) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrk keeps calling an address by GET.
func wrk(ctx context.Context, path, address string) (load, error) {
	text, err := exec.CommandContext(ctx, path, "-c", strconv.Itoa(wrkConnections), "-t", strconv.Itoa(wrkThreads), "-d", fmt.Sprintf("%.0fs", wrkRound.Seconds()), address).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, text)
	}
	return readWrk(string(text))
}

var (
	wrkDone   = regexp.MustCompile(`(\d+) requests in ([0-9.]+[a-z]+),`)
	wrkFailed = regexp.MustCompile(`(?:connect|read|write|timeout|responses:) (\d+)`)
)

// readWrk reads what wrk prints.
func readWrk(text string) (l load, err error) {
	done := wrkDone.FindStringSubmatch(text)
	if done == nil {
		return l, fmt.Errorf("wrk: got %q, want the number of requests", text)
	}
	l.calls, _ = strconv.Atoi(done[1])
	for _, failed := range wrkFailed.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(failed[1])
		l.failed += n
	}
	l.took, err = time.ParseDuration(done[2])
	return l, err
}

package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A load is what came of calls to one address.
type load struct {
	calls, failed int
	took          time.Duration   // all of them together
	each          []time.Duration // sorted
}

func (l *load) perSecond() float64 { return float64(l.calls) / l.took.Seconds() }

// quantile is the time within which a share of the calls had its answer.
func (l *load) quantile(share float64) time.Duration {
	if len(l.each) == 0 {
		return 0
	}
	return l.each[min(len(l.each)-1, int(share*float64(len(l.each))))]
}

func (l *load) add(o load) {
	l.calls, l.failed = l.calls+o.calls, l.failed+o.failed
	l.each = append(l.each, o.each...)
}

// A caller makes calls to one address over connections that it keeps.
type caller struct {
	client *http.Client
	to     string
}

func newCaller(base, path string, connections int) caller {
	return caller{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}, base + path}
}

func (c caller) close() { c.client.CloseIdleConnections() }

// call makes one call and reports whether it succeeded.
func (c caller) call(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.to, strings.NewReader(`{"start":0}`))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// keepCalling runs so many callers for some time, each with one call after the other.
func (c caller) keepCalling(ctx context.Context, callers int, last time.Duration) load {
	var all load
	var mu sync.Mutex
	var running sync.WaitGroup
	began := time.Now()
	for range callers {
		running.Go(func() {
			var own load
			for time.Since(began) < last && ctx.Err() == nil {
				own.note(ctx, c)
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(own)
		})
	}
	running.Wait()
	all.took = time.Since(began)
	slices.Sort(all.each)
	return all
}

// callEvery begins a call each interval, whether or not the one before has ended.
func (c caller) callEvery(ctx context.Context, interval, last time.Duration) load {
	var all load
	var mu sync.Mutex
	var running sync.WaitGroup
	began := time.Now()
	for n := 0; time.Since(began) < last && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * interval)))
		running.Go(func() {
			var one load
			one.note(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			all.add(one)
		})
	}
	running.Wait()
	all.took = time.Since(began)
	slices.Sort(all.each)
	return all
}

func (l *load) note(ctx context.Context, c caller) {
	began := time.Now()
	ok := c.call(ctx)
	l.each = append(l.each, time.Since(began))
	l.calls++
	if !ok {
		l.failed++
	}
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// What -memory measures.
const (
	busyPortals  = 1_000 // as many connections to portals are kept at once
	idlePortals  = 10_000
	waitingCalls = 9_900 // of the 10,000 connections that clients may have
	atRest       = 50 * time.Second
)

// A memoryReport says what b24proxy holds for each of many things.
type memoryReport struct {
	Name     string  `json:"name"`
	Number   int     `json:"number"`
	Live     float64 `json:"live"`     // bytes for each: heap and stacks after a garbage collection
	Resident float64 `json:"resident"` // as the system counts, with garbage and what Go keeps for later
}

// measureMemory fills one proxy with portals, and another one with waiting calls.
func measureMemory(ctx context.Context, o options, w io.Writer) error {
	portals, err := measurePortals(ctx)
	if err != nil {
		return err
	}
	waiting, err := measureWaiting(ctx)
	if err != nil {
		return err
	}
	reports := append(portals, waiting)
	if o.json {
		return json.NewEncoder(w).Encode(reports)
	}
	fmt.Fprintf(w, "%-42s %8s %9s %9s\n", "memory of each", "number", "live", "resident")
	for _, r := range reports {
		fmt.Fprintf(w, "%-42s %8d %7.1fkB %7.1fkB\n", r.Name, r.Number, r.Live/1000, r.Resident/1000)
	}
	return context.Cause(ctx)
}

// measurePortals calls many portals once each, over TLS.
func measurePortals(ctx context.Context) ([]memoryReport, error) {
	portal, err := startChild(roleSecure, "", unlimited)
	if err != nil {
		return nil, err
	}
	defer portal.stop()
	ours, err := startChild(roleMany, portal.base, "standard")
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	callPortals(ctx, ours.base, 0, 10) // warms up
	before, err := ours.memoryNow()
	if err != nil {
		return nil, err
	}
	callPortals(ctx, ours.base, 10, busyPortals)
	busy, err := ours.memoryNow()
	if err != nil {
		return nil, err
	}
	sleep(ctx, atRest) // until the connections are closed
	labelled, err := ours.memoryNow()
	if err != nil {
		return nil, err
	}
	callPortals(ctx, ours.base, busyPortals, idlePortals)
	sleep(ctx, atRest)
	idle, err := ours.memoryNow()
	return []memoryReport{
		busy.since(before, "a busy portal, with its TLS connection", busyPortals-10),
		labelled.since(before, "an idle portal that has metrics of its own", busyPortals-10),
		idle.since(labelled, "an idle portal beyond those", idlePortals-busyPortals),
	}, err
}

func callPortals(ctx context.Context, base string, from, to int) {
	const callers = 8
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := from + i; n < to && ctx.Err() == nil; n += callers {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/rest/1/memory/crm.deal.list", strings.NewReader("{}"))
				if err != nil {
					return
				}
				r.Header.Set("B24-Portal", fmt.Sprintf("p%d.example.com", n))
				if resp, err := client.Do(r); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	running.Wait()
}

// measureWaiting makes many calls wait for a slot, each on a connection of its own.
func measureWaiting(ctx context.Context) (r memoryReport, err error) {
	portal, err := startChild(rolePortal, "", unlimited)
	if err != nil {
		return r, err
	}
	defer portal.stop()
	ours, err := startChild(roleOurs, portal.base, "1/1")
	if err != nil {
		return r, err
	}
	defer ours.stop()
	callPortals(ctx, ours.base, 0, 1)
	before, err := ours.memoryNow()
	if err != nil {
		return r, err
	}
	for range waitingCalls {
		conn, err := net.Dial("tcp", strings.TrimPrefix(ours.base, "http://"))
		if err != nil {
			return r, err
		}
		defer conn.Close()
		fmt.Fprint(conn, "POST /rest/1/memory/crm.deal.list HTTP/1.1\r\nHost: localhost\r\nUser-Agent: b24bench\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"start\":0}")
	}
	sleep(ctx, 2*time.Second)
	after, err := ours.memoryNow()
	return after.since(before, "a waiting call, with its connection", waitingCalls), err
}

// memoryNow is what the child holds after a garbage collection.
func (c *child) memoryNow() (m memoryReport, err error) {
	for range 2 { // what the first one finds to be closed, the second one collects
		if _, err = fetch(c.admin + "/debug/pprof/heap?gc=1"); err != nil {
			return m, err
		}
	}
	text, err := fetch(c.admin + "/metrics")
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		var n float64
		if _, after, found := strings.Cut(text, "\n"+name+" "); found {
			fmt.Sscan(after, &n)
		}
		m.Live += n
	}
	m.Resident = float64(c.memory())
	return m, err
}

func (m memoryReport) since(before memoryReport, name string, number int) memoryReport {
	each := func(after, before float64) float64 { return max(0, after-before) / float64(number) }
	return memoryReport{name, number, each(m.Live, before.Live), each(m.Resident, before.Resident)}
}

func fetch(address string) (string, error) {
	resp, err := http.Get(address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return string(content), err
}

// securePortal is a portal with TLS under each name below example.com. It has not started.
func securePortal() *httptest.Server { return httptest.NewUnstartedServer(http.HandlerFunc(answerAll)) }

// rootsOfSecure trust the certificate of securePortal, which net/http/httptest has in all
// processes.
func rootsOfSecure() *x509.CertPool {
	server := securePortal()
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return roots
}

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
	busyPortals     = 1_000 // as many connections to portals are kept at once
	labelledPortals = 5_500 // have metrics of their own
	idlePortals     = 10_000
	waitingCalls    = 9_900 // of the 10,000 connections that clients may have

	// atRest is until nothing is left of a call but what is remembered: the connection to
	// its portal is closed after 45 s.
	atRest = 50 * time.Second
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
	reports := portals
	for _, w := range waitingRoles {
		waiting, err := measureWaiting(ctx, w.role, w.name, waitingCalls)
		if err != nil {
			return err
		}
		reports = append(reports, waiting)
	}
	if o.json {
		return json.NewEncoder(w).Encode(reports)
	}
	fmt.Fprintf(w, "%-42s %8s %9s %9s\n", "memory of each", "number", "live", "resident")
	for _, r := range reports {
		fmt.Fprintf(w, "%-42s %8d %7.1fkB %7.1fkB\n", r.Name, r.Number, r.Live/1000, r.Resident/1000)
	}
	return context.Cause(ctx)
}

// measurePortals calls many portals once each, over TLS. The busy ones have just been called,
// and their connections are open. The idle ones come after them, so that what Go keeps of
// the connections and goroutines that there were at once does not count as theirs.
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
	sleep(ctx, atRest)
	closed, err := ours.memoryNow()
	if err != nil {
		return nil, err
	}
	callPortals(ctx, ours.base, busyPortals, labelledPortals)
	sleep(ctx, atRest)
	labelled, err := ours.memoryNow()
	if err != nil {
		return nil, err
	}
	callPortals(ctx, ours.base, labelledPortals, idlePortals)
	sleep(ctx, atRest)
	idle, err := ours.memoryNow()
	return []memoryReport{
		busy.since(before, "a busy portal, with its TLS connection", busyPortals-10),
		labelled.since(closed, "an idle portal that has metrics of its own", labelledPortals-busyPortals),
		idle.since(labelled, "an idle portal beyond those", idlePortals-labelledPortals),
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

// waitingRoles are the children in which calls wait.
var waitingRoles = []struct{ role, name string }{
	{roleOurs, "a waiting call, with its connection"},
	{roleBareWaits, "  if a bare ReverseProxy waited"},
	{roleHandlerWaits, "  if a bare handler of net/http waited"},
}

// measureWaiting makes many calls wait, each on a connection of its own.
func measureWaiting(ctx context.Context, role, name string, calls int) (r memoryReport, err error) {
	portal, err := startChild(rolePortal, "", unlimited)
	if err != nil {
		return r, err
	}
	defer portal.stop()
	server, err := startChild(role, portal.base, "1/1")
	if err != nil {
		return r, err
	}
	defer server.stop()
	first, err := startWaiting(server.base, 2) // one gets the slot, and one waits
	defer first.stop()
	if err != nil {
		return r, err
	}
	sleep(ctx, time.Second)
	before, err := server.memoryNow()
	if err != nil {
		return r, err
	}
	others, err := startWaiting(server.base, calls)
	defer others.stop()
	if err != nil {
		return r, err
	}
	sleep(ctx, 2*time.Second)
	after, err := server.memoryNow()
	return after.since(before, name, calls), err
}

// waitingConns are connections on each of which a call waits.
type waitingConns []net.Conn

func startWaiting(base string, n int) (cs waitingConns, err error) {
	for range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			return cs, err
		}
		cs = append(cs, conn)
		fmt.Fprint(conn, "POST /rest/1/memory/crm.deal.list HTTP/1.1\r\nHost: localhost\r\nUser-Agent: b24bench\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"start\":0}")
	}
	return cs, nil
}

func (cs waitingConns) stop() {
	for _, conn := range cs {
		conn.Close()
	}
}

// memoryNow is what the child holds after a garbage collection.
func (c *child) memoryNow() (m memoryReport, err error) {
	var profile string
	for range 2 { // what the first collection finds to be closed, the second one frees
		if profile, err = fetch(c.admin + "/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return m, err
		}
	}
	for _, name := range []string{"HeapAlloc", "Stack"} {
		var n float64
		_, after, found := strings.Cut(profile, "\n# "+name+" = ")
		if _, err := fmt.Sscan(after, &n); !found || err != nil {
			return m, fmt.Errorf("the heap profile has no %s", name)
		}
		m.Live += n
	}
	m.Resident = float64(c.memory())
	return m, nil
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

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	soakCallers = 32
	soakQuarter = 4                      // the parts of a soak that are compared
	portalLives = 5 * time.Second        // until it restarts
	portalDown  = 200 * time.Millisecond // while it does
	soakHangUp  = 20 * time.Millisecond  // at most, of a caller that hangs up
)

// soak calls at full speed through b24proxy, while the portal fails, restarts, and
// callers hang up. It fails if a call is lost or runs twice, or if memory, goroutines or
// file descriptors grow.
func soak(ctx context.Context, o options, w io.Writer) error {
	portal, err := startFlakyPortal()
	if err != nil {
		return err
	}
	defer portal.stop()
	ours, err := startChild(roleOurs, portal.base(), unlimited)
	if err != nil {
		return err
	}
	defer ours.stop()
	loaded, enough := context.WithTimeout(ctx, o.soak)
	defer enough()
	var running sync.WaitGroup
	running.Go(func() { portal.restart(loaded) })
	s := &soaking{portal: portal, base: ours.base}
	for range soakCallers {
		running.Go(func() { s.keepCalling(loaded) })
	}
	parts, err := s.watch(loaded, ours, o.soak/soakQuarter)
	running.Wait()
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return err
	}
	r := soakReport{Calls: s.calls.Load(), HungUp: s.hungUp.Load(), Lost: s.lost.Load(), Doubled: portal.doubled(), Wrong: s.wrong.Load(), Parts: parts}
	if o.json {
		err = json.NewEncoder(w).Encode(r)
	} else {
		printSoak(w, o, r)
	}
	return errors.Join(err, r.check())
}

// A soakReport is what came of the calls, and what the proxy held in each quarter.
type soakReport struct {
	Calls   int64      `json:"calls"`
	HungUp  int64      `json:"hung_up"` // by their callers
	Lost    int64      `json:"lost"`    // calls that got no answer
	Doubled int64      `json:"doubled"` // writes that ran twice
	Wrong   int64      `json:"wrong"`   // answers that do not say truly whether the call ran
	Parts   []soakPart `json:"parts"`
}

type soakPart struct {
	PerSecond   float64 `json:"per_second"`
	MemoryBytes int64   `json:"memory_bytes"`
	Goroutines  int     `json:"goroutines"`
	Descriptors int     `json:"descriptors"`
}

// check compares the last quarter with the second one, when all is warm.
func (r soakReport) check() error {
	var errs []error
	if r.Lost+r.Doubled+r.Wrong > 0 {
		errs = append(errs, fmt.Errorf("%d calls lost, %d doubled, %d with a wrong answer", r.Lost, r.Doubled, r.Wrong))
	}
	warm, last := r.Parts[1], r.Parts[len(r.Parts)-1]
	if last.MemoryBytes > warm.MemoryBytes*5/4+8<<20 {
		errs = append(errs, fmt.Errorf("memory grew from %d MB to %d MB", warm.MemoryBytes>>20, last.MemoryBytes>>20))
	}
	if last.Goroutines > warm.Goroutines*5/4+100 {
		errs = append(errs, fmt.Errorf("goroutines grew from %d to %d", warm.Goroutines, last.Goroutines))
	}
	if last.Descriptors > warm.Descriptors*5/4+50 {
		errs = append(errs, fmt.Errorf("file descriptors grew from %d to %d", warm.Descriptors, last.Descriptors))
	}
	return errors.Join(errs...)
}

// soaking is the callers' side.
type soaking struct {
	portal                     *flakyPortal
	base                       string
	calls, hungUp, lost, wrong atomic.Int64
}

func (s *soaking) keepCalling(ctx context.Context) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for ctx.Err() == nil {
		id := fmt.Sprint(s.calls.Add(1))
		patience, leave := context.WithCancel(context.WithoutCancel(ctx)) // the last calls get their answers, too
		hangsUp := rand.IntN(50) == 0
		if hangsUp {
			time.AfterFunc(rand.N(soakHangUp), leave)
		}
		s.call(patience, client, id, hangsUp)
		leave()
	}
}

// call makes a write with an id of its own, and compares what its answer says with what
// the portal knows.
func (s *soaking) call(ctx context.Context, client *http.Client, id string, hangsUp bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/rest/1/soak/crm.deal.add?id="+id, strings.NewReader(`{"fields":{"TITLE":"soak"}}`))
	if err != nil {
		s.lost.Add(1)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	var content []byte
	if err == nil {
		content, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err != nil {
		s.portal.abandon(id)
		if hangsUp {
			s.hungUp.Add(1)
		} else {
			s.lost.Add(1)
		}
		return
	}
	executed, isAnswer := readAnswer(content)
	runs := s.portal.settle(id, executed == "unknown")
	if !isAnswer || !isTrue(resp.StatusCode, executed, runs) {
		s.wrong.Add(1)
	}
}

// readAnswer returns what an error says of its call: whether it ran. It is "" for a
// success.
func readAnswer(content []byte) (executed string, isAnswer bool) {
	var answer struct {
		Result json.RawMessage
		Proxy  struct{ Executed string }
	}
	err := json.Unmarshal(content, &answer)
	return answer.Proxy.Executed, err == nil && (answer.Result != nil) == (answer.Proxy.Executed == "")
}

// isTrue reports whether an answer fits to how often its call ran.
func isTrue(status int, executed string, runs int) bool {
	switch executed {
	case "":
		return status == http.StatusOK && runs == 1
	case "no":
		return status != http.StatusOK && runs == 0
	}
	return executed == "unknown" && status != http.StatusOK && runs <= 1
}

// watch measures the proxy four times a quarter, and returns the means of the quarters.
func (s *soaking) watch(ctx context.Context, ours *child, quarter time.Duration) ([]soakPart, error) {
	const looks = 4
	var parts []soakPart
	for range soakQuarter {
		var sum soakPart
		before, began := s.calls.Load(), time.Now()
		for range looks {
			sleep(ctx, quarter/looks-10*time.Millisecond)
			now, err := ours.holds()
			if err != nil {
				return nil, err
			}
			sum.MemoryBytes += now.MemoryBytes / looks
			sum.Goroutines += now.Goroutines
			sum.Descriptors += now.Descriptors
		}
		sum.PerSecond = float64(s.calls.Load()-before) / time.Since(began).Seconds()
		sum.Goroutines /= looks
		sum.Descriptors /= looks
		parts = append(parts, sum)
	}
	return parts, nil
}

// holds is what the child holds now.
func (c *child) holds() (p soakPart, err error) {
	p.MemoryBytes = c.memory()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	if err != nil {
		return p, errNoProc
	}
	p.Descriptors = len(files)
	text, err := fetch(c.admin + "/metrics")
	if _, after, found := strings.Cut(text, "\ngo_goroutines "); found {
		fmt.Sscan(after, &p.Goroutines)
	}
	return p, err
}

// A flakyPortal runs calls and counts them, and fails in all ways that a portal has.
type flakyPortal struct {
	address string
	mu      sync.Mutex
	server  *http.Server
	runs    map[string]int  // of calls that are not answered
	left    map[string]bool // that may still run: their callers left, or read that
}

func startFlakyPortal() (*flakyPortal, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &flakyPortal{address: l.Addr().String(), runs: make(map[string]int), left: make(map[string]bool)}
	p.serve(l)
	return p, nil
}

func (p *flakyPortal) base() string { return "http://" + p.address }

func (p *flakyPortal) serve(l net.Listener) {
	server := &http.Server{Handler: p}
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	go server.Serve(l)
}

func (p *flakyPortal) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.Close()
}

// restart cuts all connections from time to time, and refuses new ones for a while.
func (p *flakyPortal) restart(ctx context.Context) {
	for {
		if sleep(ctx, portalLives); ctx.Err() != nil {
			return
		}
		p.stop()
		time.Sleep(portalDown)
		l, err := net.Listen("tcp", p.address)
		for err != nil { // another process may have got the port for a moment
			time.Sleep(portalDown)
			l, err = net.Listen("tcp", p.address)
		}
		p.serve(l)
	}
}

func (p *flakyPortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	const gatewayPage = "<html><title>502 Bad Gateway</title></html>"
	fate := rand.IntN(100)
	if fate == 0 { // the gateway fails before the portal
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, gatewayPage)
		return
	}
	p.mu.Lock()
	p.runs[r.URL.Query().Get("id")]++
	p.mu.Unlock()
	switch fate {
	case 1: // the gateway fails behind the portal
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, gatewayPage)
	case 2:
		panic(http.ErrAbortHandler)
	case 3:
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		io.WriteString(w, page[:len(page)/2])
	default:
		answerAll(w, r)
	}
}

// settle returns how often a call ran that has its answer. If that says so, the call may
// still be on its way; any other that runs later runs too often.
func (p *flakyPortal) settle(id string, isUnknown bool) (runs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	runs = p.runs[id]
	if isUnknown {
		p.left[id] = true
	} else {
		delete(p.runs, id)
	}
	return runs
}

// abandon notes that the caller of a call has left, so it may run later, once.
func (p *flakyPortal) abandon(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[id] = true
}

// doubled is how many calls ran after their answer, or twice.
func (p *flakyPortal) doubled() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, runs := range p.runs {
		if runs > 1 || !p.left[id] {
			n++
		}
	}
	return n
}

func printSoak(w io.Writer, o options, r soakReport) {
	fmt.Fprintf(w, "%d callers for %v; 4 %% of the answers fail, the portal restarts every %v, 2 %% of the callers hang up\n\n", soakCallers, o.soak, portalLives)
	fmt.Fprintf(w, "%d calls, %d hung up; %d lost, %d doubled, %d with a wrong answer\n\n", r.Calls, r.HungUp, r.Lost, r.Doubled, r.Wrong)
	fmt.Fprintf(w, "%-8s %8s %8s %11s %12s\n", "quarter", "calls/s", "memory", "goroutines", "descriptors")
	for i, p := range r.Parts {
		fmt.Fprintf(w, "%-8d %8.0f %6dMB %11d %12d\n", i+1, p.PerSecond, p.MemoryBytes>>20, p.Goroutines, p.Descriptors)
	}
}

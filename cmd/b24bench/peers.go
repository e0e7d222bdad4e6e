package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"b24proxy/proxy/b24sim"
)

// What -peers does, unless -n and -for say otherwise.
const (
	peerGreedy    = 60 // callers of the greedy client
	peerRound     = 30 * time.Second
	peerLeaving   = 20 // callers that leave before their turn
	peerLost      = 10 // writes whose answer is lost; as many again that their client repeats
	peerTries     = 3  // of a client that repeats
	peerPatience  = 300 * time.Millisecond
	peerRest      = time.Second // after which a refused caller calls again
	quietInterval = 2 * time.Second
	peerRounds    = 15
)

// A peerReport says how one proxy did in front of the same portal, under the same load.
type peerReport struct {
	Name         string  `json:"name"`
	Skipped      string  `json:"skipped,omitempty"`     // why
	UseOfLimit   float64 `json:"use_of_limit"`          // calls that the portal took, of those that it could take
	Refused      int     `json:"refused"`               // answers to callers that are not a success
	QuietP50     float64 `json:"quiet_p50"`             // seconds that the quiet client waited for an answer
	QuietMost    float64 `json:"quiet_most"`            // the longest
	RanForNobody int     `json:"ran_for_nobody"`        // calls that came to the portal after their callers left
	RanTwice     int     `json:"ran_twice"`             // writes, sent once, whose answer was lost
	Repeated     int     `json:"ran_twice_of_repeated"` // the same of a client that repeats what fails
	PerSecond    float64 `json:"per_second"`            // calls, without a limit
	CPU          float64 `json:"cpu"`                   // seconds a call, without a limit
	Memory       int64   `json:"memory_bytes"`          // after that
}

// A peer is a proxy that can be put before a portal.
type peer struct {
	name  string
	start func(ctx context.Context, upstream string, o options, limited bool) (*child, error)
}

func peersOf() []peer {
	ourselves := func(role string) func(context.Context, string, options, bool) (*child, error) {
		return func(_ context.Context, upstream string, o options, limited bool) (*child, error) {
			plan := unlimited
			if limited {
				plan = o.plan.String()
			}
			return startChild(role, upstream, plan)
		}
	}
	return []peer{
		{"bare ReverseProxy", ourselves(roleBare)},
		{"nginx limit_req", nginx.start},
		{"haproxy queue", haproxy.start},
		{"b24proxy", ourselves(roleOurs)},
	}
}

// comparePeers puts each proxy before the same portal, one after the other, and then all
// of them in turn before one without a limit.
func comparePeers(ctx context.Context, o options, w io.Writer) error {
	peers := peersOf()
	reports := make([]peerReport, len(peers))
	for i, p := range peers {
		reports[i].Name = p.name
		if err := reports[i].measureLimited(ctx, p, o); err != nil {
			reports[i] = peerReport{Name: p.name, Skipped: err.Error()}
		}
	}
	if err := errors.Join(measureFree(ctx, peers, reports, o), context.Cause(ctx)); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(w).Encode(reports)
	}
	printPeers(w, o, reports)
	return nil
}

// measureLimited loads the proxy with a greedy client, a quiet one, and callers that
// leave. Then it lets answers be lost.
func (r *peerReport) measureLimited(ctx context.Context, p peer, o options) error {
	portal, err := startTalliedPortal(o)
	if err != nil {
		return err
	}
	defer portal.server.Close()
	proxy, err := p.start(ctx, portal.base, o, true)
	if err != nil {
		return err
	}
	defer proxy.stop()
	began := time.Now()
	loaded, enough := context.WithTimeout(ctx, o.last)
	defer enough()
	var running sync.WaitGroup
	var mu sync.Mutex
	for i := range o.calls {
		running.Go(func() {
			refused := callUntil(loaded, proxy.base+"/rest/1/greedy/crm.deal.list", i)
			mu.Lock()
			defer mu.Unlock()
			r.Refused += refused
		})
	}
	var quiet load
	running.Go(func() {
		c := newCaller(proxy.base, "/rest/2/quiet/crm.deal.list", 4)
		defer c.close()
		quiet = c.callEvery(ctx, quietInterval, o.last)
	})
	running.Go(func() { leaveEarly(ctx, proxy.base, portal, o.last/3) })
	running.Wait()
	r.UseOfLimit = float64(portal.accepted()) / (float64(o.plan.Burst) + o.plan.Rate*time.Since(began).Seconds())
	r.Refused += quiet.failed
	r.QuietP50, r.QuietMost = quiet.quantile(0.5).Seconds(), quiet.quantile(1).Seconds()
	r.RanForNobody = portal.ranForNobody()
	loseAnswers(ctx, proxy.base, lostOnce, http.MethodGet, 1)
	loseAnswers(ctx, proxy.base, lostRepeated, http.MethodPost, peerTries)
	r.RanTwice, r.Repeated = portal.ranTwice(lostOnce), portal.ranTwice(lostRepeated)
	return nil
}

// callUntil makes one call after the other until ctx ends, and returns how many failed.
// A caller that is refused rests before the next one.
func callUntil(ctx context.Context, address string, n int) (refused int) {
	c := newCaller(address, fmt.Sprintf("?caller=%d", n), 1)
	defer c.close()
	for ctx.Err() == nil {
		if !c.call(ctx) && ctx.Err() == nil {
			refused++
			sleep(ctx, peerRest)
		}
	}
	return refused
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// leaveEarly makes calls whose callers leave before their turn comes.
func leaveEarly(ctx context.Context, base string, portal *talliedPortal, after time.Duration) {
	sleep(ctx, after)
	var running sync.WaitGroup
	for i := range peerLeaving {
		running.Go(func() {
			id := fmt.Sprintf("left-%d", i)
			patience, leave := context.WithTimeout(ctx, peerPatience)
			defer leave()
			c := newCaller(base, "/rest/1/greedy/crm.deal.add?id="+id, 1)
			defer c.close()
			c.call(patience)
			portal.left(id)
		})
	}
	running.Wait()
}

// The ids of writes whose first answer is lost begin with these.
const (
	lostOnce     = "lost-once-"
	lostRepeated = "lost-repeated-"
)

// loseAnswers makes writes when the proxy has a connection that it used before. The portal
// runs each, and cuts the connection. The client does what many libraries do: it sends a
// call again, unchanged, until it succeeds or the last try has failed. Proxies send some
// calls again by themselves, if they are made by GET.
func loseAnswers(ctx context.Context, base, ids, method string, tries int) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // else net/http sends a GET again if a kept connection breaks
	for i := range peerLost {
		isDone(ctx, client, http.MethodGet, base+"/rest/3/writer/profile")
		for range tries {
			if isDone(ctx, client, method, fmt.Sprintf("%s/rest/3/writer/crm.deal.add?id=%s%d", base, ids, i)) {
				break
			}
		}
	}
}

// isDone makes one call and reports whether its answer is a success.
func isDone(ctx context.Context, client *http.Client, method, address string) bool {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// measureFree counts calls, CPU time and memory where no limit is in force.
func measureFree(ctx context.Context, peers []peer, reports []peerReport, o options) error {
	portal, err := startChild(rolePortal, "", unlimited)
	if err != nil {
		return err
	}
	defer portal.stop()
	free := make([]rival, len(peers))
	for i, p := range peers {
		if reports[i].Skipped != "" {
			continue
		}
		if free[i].child, err = p.start(ctx, portal.base, o, false); err != nil {
			return err
		}
		defer free[i].child.stop()
	}
	o.calls, o.last = overheadCallers, min(o.last, overheadRound)
	for range peerRounds + 1 { // the first one warms up
		for i := range free {
			if free[i].child == nil {
				continue
			}
			if err := free[i].round(ctx, o); err != nil {
				return err
			}
		}
	}
	for i := range free {
		if free[i].child != nil {
			reports[i].PerSecond, reports[i].CPU = free[i].rounds.perSecond(), free[i].rounds.cpuOfACall()
			reports[i].Memory = free[i].child.memory()
		}
	}
	return nil
}

// A talliedPortal is a simulated portal that notes which calls came, and when.
type talliedPortal struct {
	*portal
	mu       sync.Mutex
	came     map[string][]time.Time // by id
	leftAt   map[string]time.Time
	limited  int // calls that count
	refusals *b24sim.Portal
}

func startTalliedPortal(o options) (*talliedPortal, error) {
	o.mix, o.speed = false, 1
	p, err := startPortal(o)
	if err != nil {
		return nil, err
	}
	t := &talliedPortal{portal: p, came: make(map[string][]time.Time), leftAt: make(map[string]time.Time), refusals: p.portal}
	p.server.Handler = t
	return t, nil
}

func (t *talliedPortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	t.mu.Lock()
	t.limited++
	if id != "" {
		t.came[id] = append(t.came[id], time.Now())
	}
	isFirst := len(t.came[id]) == 1
	t.mu.Unlock()
	if isFirst && strings.HasPrefix(id, "lost-") {
		panic(http.ErrAbortHandler) // it ran, and its answer is lost
	}
	t.portal.portal.ServeHTTP(w, r)
}

func (t *talliedPortal) left(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leftAt[id] = time.Now()
}

// accepted is how many calls the portal took.
func (t *talliedPortal) accepted() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limited - t.refusals.Refused()
}

func (t *talliedPortal) ranForNobody() (n int) {
	const onTheWay = 50 * time.Millisecond
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, at := range t.leftAt {
		if slices.ContainsFunc(t.came[id], func(came time.Time) bool { return came.After(at.Add(onTheWay)) }) {
			n++
		}
	}
	return n
}

// ranTwice is how many of the calls ran twice whose ids begin so.
func (t *talliedPortal) ranTwice(ids string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, came := range t.came {
		if len(came) > 1 && strings.HasPrefix(id, ids) {
			n++
		}
	}
	return n
}

func printPeers(w io.Writer, o options, reports []peerReport) {
	fmt.Fprintf(w, "plan %v of the portal; %d greedy callers and a quiet one for %v; %d callers leave after %v; %d writes, sent once, lose their answer, and %d that are repeated up to %d times; then %d callers without a limit; %s, %d CPUs\n\n",
		o.plan, o.calls, o.last, peerLeaving, peerPatience, peerLost, peerLost, peerTries-1, overheadCallers, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(w, "%-18s %8s %8s %10s %10s %8s %6s %9s %8s %8s %8s\n", "", "of limit", "refused", "quiet p50", "quiet most", "for none", "twice", "repeated", "calls/s", "CPU", "memory")
	for _, r := range reports {
		if r.Skipped != "" {
			fmt.Fprintf(w, "%-18s %s\n", r.Name, r.Skipped)
			continue
		}
		fmt.Fprintf(w, "%-18s %7.0f%% %8d %10s %10s %8d %6d %9d %8.0f %8s %6dMB\n", r.Name, 100*r.UseOfLimit, r.Refused,
			short(seconds(r.QuietP50)), short(seconds(r.QuietMost)), r.RanForNobody, r.RanTwice, r.Repeated, r.PerSecond, micro(r.CPU), r.Memory>>20)
	}
}

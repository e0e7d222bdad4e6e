package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter/storetest"
	"b24proxy/proxy/b24sim"
)

// strict is the strictest portal that fits the documentation, ten times as fast. A call
// is on its way for up to 20 ms, and takes 20 ms more.
var strict = b24sim.Config{Rate: 2, Burst: 50, RefusedCount: true, Speed: 10, Jitter: 200 * time.Millisecond, Latency: 200 * time.Millisecond}

// A fleet is replicas that share a portal's limit, and callers of them.
type fleet struct {
	t      *testing.T
	sim    *b24sim.Portal
	redis  *storetest.Redis
	common []string // settings of all replicas

	mu       sync.Mutex
	replicas []*process // that take calls
	next     int

	calls sync.WaitGroup
	made  int
}

// newFleet starts n replicas that know of one another.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := prepareFleet(t)
	f.add(n)
	f.wantSeen(n)
	return f
}

// prepareFleet starts what the replicas need.
func prepareFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: storetest.StartRedis(t)}
	sim, upstream := portal(t, strict)
	f.sim = sim
	f.common = []string{"UPSTREAM=" + upstream, fastPlan, "QUEUE_WAIT=10m", "DRAIN_TIMEOUT=2s", "EGRESS_ID=office", "REDIS_URL=" + f.redis.URL}
	return f
}

// add starts n more replicas.
func (f *fleet) add(n int) {
	f.t.Helper()
	for range n {
		p := launch(f.t, f.common...)
		f.mu.Lock()
		f.replicas = append(f.replicas, p)
		f.mu.Unlock()
	}
}

// wantSeen waits until each replica knows of n.
func (f *fleet) wantSeen(n int) {
	f.t.Helper()
	for _, p := range f.replicas {
		eventually(f.t, fmt.Sprintf("it knows of %d replicas", n), func() bool {
			return strings.Contains(p.readiness(), fmt.Sprintf("shared store: up; replicas: %d\n", n))
		})
	}
}

// readiness is what /readyz says. It is always 200.
func (p *process) readiness() string {
	p.t.Helper()
	a := call(p.t, "GET", p.admin+"/readyz", "")
	a.wantOK(p.t)
	return string(a.body)
}

// take takes a replica out of those that take calls, the oldest one.
func (f *fleet) take() *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.replicas[0]
	f.replicas = slices.Clone(f.replicas[1:])
	return p
}

// clients is the address of the next replica in turn.
func (f *fleet) clients() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.replicas[f.next%len(f.replicas)].clients
}

// call makes n calls at once, each of which must succeed. One goes to another replica
// where the first one stops, as a load balancer would have it.
func (f *fleet) call(n int) {
	f.t.Helper()
	for range n {
		f.made++
		body := fmt.Sprintf(`{"call":%d}`, f.made)
		f.calls.Go(func() {
			for range 10 {
				a := call(f.t, "POST", f.clients()+add, body)
				if isStopping := a.err != nil || a.status == 503 && a.json(f.t).Proxy.Reason == "draining"; !isStopping {
					a.wantOK(f.t)
					return
				}
			}
			f.t.Error("got ten replicas that stop, want an answer of one")
		})
	}
}

// wantAll waits for all calls. Each must have run once, with at most so many attempts
// refused by the portal.
func (f *fleet) wantAll(refused int) {
	f.t.Helper()
	f.calls.Wait()
	if ran := f.sim.Ran("crm.deal.add"); ran != f.made {
		f.t.Errorf("got %d calls run, want %d", ran, f.made)
	}
	if got := f.sim.Refused(); got > refused {
		f.t.Errorf("got %d attempts refused, want %d at most", got, refused)
	}
	f.t.Logf("%d calls, %d attempts refused", f.made, f.sim.Refused())
}

// Replicas use the limit together about as well as one alone, and the portal refuses
// nothing. They use 98 % of it, five of them 97 %, where the machine is not busy. The bound
// leaves room for one that is.
func TestReplicasKeepOneLimit(t *testing.T) {
	t.Parallel()
	const calls, least = 250, 10 * time.Second
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprintf("%d replicas", n), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, n)
			before := f.requests()
			began := time.Now()
			f.call(calls)
			f.wantAll(0)
			took := time.Since(began)
			used := 100 * least.Seconds() / took.Seconds()
			t.Logf("%v, %.1f %% of the limit used, %.2f requests to the store for a call", took, used, (f.requests()-before)/calls)
			if used < 75 {
				t.Errorf("got %.1f %% of the limit used, want 75", used)
			}
		})
	}
}

// requests is how many requests the replicas have made to the store.
func (f *fleet) requests() (sum float64) {
	f.t.Helper()
	for _, p := range f.replicas {
		sum += p.metric("store_request_duration_seconds_count")
	}
	return sum
}

// Whatever happens to the store in the middle of the load, no call fails, and hardly
// one attempt is refused.
func TestReplicasWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(f *fleet){
		"it is killed": func(f *fleet) {
			f.redis.Kill()
			f.wantAway()
		},
		"it loses everything": func(f *fleet) { f.redis.Do(f.t, "flushall") },
		"it is killed, and started again": func(f *fleet) {
			f.redis.Kill()
			f.wantAway()
			f.redis.Restart(f.t)
			f.wantSeen(2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2)
			f.call(130)
			eventually(t, "the burst is over", func() bool { return f.sim.Arrived() >= 60 })
			fail(f)
			f.wantAll(3)
		})
	}
}

// wantAway waits until the replicas go on without the store. They are ready, and say it.
func (f *fleet) wantAway() {
	f.t.Helper()
	for _, p := range f.replicas {
		eventually(f.t, "the store is away", func() bool { return p.metric("store_up") == 0 })
		if got := p.readiness(); !strings.Contains(got, "shared store: away since") {
			f.t.Errorf("got /readyz %q, want that the store is away", got)
		}
		if !strings.Contains(p.logged(), "the shared store is away; this replica goes on alone") {
			f.t.Error("got no line of the log that the store is away")
		}
	}
}

// Replicas come and go under load: one more, one in place of another, down to one. The
// portal refuses nothing, and each call runs once.
func TestReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	stop := func() {
		p := f.take()
		p.signal(syscall.SIGTERM)
		f.call(10)
	}
	f.call(80)
	eventually(t, "the burst is over", func() bool { return f.sim.Arrived() >= 60 })
	f.add(2)
	f.call(40)
	f.wantSeen(3)
	f.add(1)
	stop()
	f.wantSeen(3)
	stop()
	stop()
	f.wantSeen(1)
	f.call(10)
	f.wantAll(0)
}

// A replica stands still in the middle of the load, for longer than what it has said
// of itself counts. The others go on, and its own calls are sent when it wakes up.
func TestReplicaStandsStill(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	f.call(120)
	eventually(t, "the burst is over", func() bool { return f.sim.Arrived() >= 60 })
	frozen := f.take()
	frozen.signal(syscall.SIGSTOP)
	began := time.Now()
	for time.Since(began) < standstill {
		f.call(10)
		time.Sleep(standstill / 10)
	}
	frozen.signal(syscall.SIGCONT)
	f.wantAll(0)
}

const standstill = 10 * time.Second

// Replicas start without the store and serve. When it comes, they share the limit, in
// the middle of the load too.
func TestReplicasStartBeforeTheStore(t *testing.T) {
	t.Parallel()
	f := prepareFleet(t)
	f.redis.Kill()
	f.add(2)
	f.wantAway()
	f.call(100)
	eventually(t, "the burst is over", func() bool { return f.sim.Arrived() >= 60 })
	f.redis.Restart(t)
	f.wantSeen(2)
	f.call(30)
	f.wantAll(0)
	for _, p := range f.replicas {
		if up := p.metric("store_up"); up != 1 || !strings.Contains(p.logged(), "the shared store is back") {
			t.Errorf("got store_up %v, want 1, and a line of the log that the store is back", up)
		}
	}
}

// Replicas with another egress id share another limit.
func TestReplicasOfAnotherAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	other := launch(t, append(slices.Clone(f.common), "EGRESS_ID=home")...)
	f.call(1)
	call(t, "POST", other.clients+add, "{}").wantOK(t)
	f.calls.Wait()
	if got := other.readiness(); !strings.Contains(got, "replicas: 1\n") {
		t.Errorf("got /readyz %q, want one replica", got)
	}
	for _, id := range []string{"office", "home"} {
		host := strings.TrimPrefix(f.common[0], "UPSTREAM=http://")
		if key := "b24:{" + id + "|" + host + "}:bucket"; f.redis.Do(t, "exists", key) != "1" {
			t.Errorf("got no bucket %s", key)
		}
	}
}

// Replicas have the same ids for the same credentials, whatever their state files have.
func TestReplicasHaveOneKey(t *testing.T) {
	t.Parallel()
	f := prepareFleet(t)
	var names []string
	for range 2 {
		p := launch(t, append(slices.Clone(f.common), "STATE_FILE="+filepath.Join(t.TempDir(), "state"))...)
		call(t, "POST", p.clients+add, "{}").wantOK(t)
		names = append(names, p.onlyClient())
	}
	if names[0] != names[1] {
		t.Errorf("got %q for one webhook, want the same twice", names)
	}
}

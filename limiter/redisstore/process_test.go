package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// A replicaProcess is what a process of these tests does: it makes calls of its own
// clients, with the limiter of a replica.
type replicaProcess struct {
	Redis, Upstream string
	Calls           int
}

const replicaVariable = "REDISSTORE_TEST_REPLICA"

// TestMain makes the test program a replica where the environment says so.
func TestMain(m *testing.M) {
	if text := os.Getenv(replicaVariable); text != "" {
		var r replicaProcess
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			panic(err)
		}
		r.run()
		return
	}
	os.Exit(m.Run())
}

func (r replicaProcess) run() {
	s, err := Open(Config{URL: r.Redis, Egress: "fleet", Log: quiet})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	l := limiter.New(limiter.Config{Plan: func(string) limiter.Plan { return tenfold }, Depth: 1000, Store: s})
	var wg sync.WaitGroup
	for i := range r.Calls {
		wg.Go(func() { r.call(l, fmt.Sprint(i)) })
	}
	wg.Wait()
}

// call makes one call until it is accepted.
func (r replicaProcess) call(l *limiter.Limiter, client string) {
	request := limiter.Request{Upstream: "u", Client: client, Wait: time.Hour}
	for {
		s, err := l.Acquire(context.Background(), request)
		if err != nil {
			panic(err)
		}
		resp, err := http.Get(fmt.Sprintf("%s/%d", r.Upstream, time.Now().UnixMicro()))
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		if request.Refused = resp.StatusCode != http.StatusOK; !request.Refused {
			s.Answered(limiter.Accepted)
			return
		}
		s.Answered(limiter.Refused)
	}
}

// processes starts replicas, each with so many calls at once.
func processes(t *testing.T, n, calls int, redis string, u *upstream) []*exec.Cmd {
	t.Helper()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slot, _ := strconv.ParseInt(r.URL.Path[1:], 10, 64)
		time.Sleep(10 * time.Millisecond)
		if u.arrive(time.UnixMicro(slot)) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		time.Sleep(10 * time.Millisecond)
	}))
	t.Cleanup(portal.Close)
	text, _ := json.Marshal(replicaProcess{redis, portal.URL, calls})
	var all []*exec.Cmd
	for range n {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), replicaVariable+"="+string(text))
		c.Stderr = t.Output()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill() })
		all = append(all, c)
	}
	return all
}

// Replicas keep the limit while one of them is killed or stands still in the middle of
// the load. No call of the others fails.
func TestReplicasAsProcesses(t *testing.T) {
	for name, c := range map[string]struct {
		signals  []syscall.Signal // to the last of three, after a second and after four more
		survives bool
	}{
		"nothing happens to them":                      {nil, true},
		"one is killed":                                {[]syscall.Signal{syscall.SIGKILL}, false},
		"one stands still for what is almost a minute": {[]syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upstream{tick: time.Now()}
			began := time.Now()
			all := processes(t, 3, 60, storetest.StartRedis(t).URL, u)
			for i, signal := range c.signals {
				time.Sleep(time.Duration(1+3*i) * time.Second)
				all[2].Process.Signal(signal)
			}
			for i, replica := range all {
				if err := replica.Wait(); err != nil && (i < 2 || c.survives) {
					t.Errorf("replica %d: got %v, want that all its calls are accepted", i, err)
				}
			}
			took := time.Since(began)
			t.Log(took)
			if most := 30 * time.Second; took > most { // 7 s on a quiet machine
				t.Errorf("got %v, want %v at most", took, most)
			}
			u.check(t, 0)
		})
	}
}

package redisstore

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// A server is where a store under test keeps its buckets.
type server struct {
	url   string
	flush func()
}

// onMiniredis starts a server in this process.
func onMiniredis(t *testing.T) server {
	t.Helper()
	m := miniredis.RunT(t)
	return server{"redis://" + m.Addr(), m.FlushAll}
}

// onRedis starts a real redis-server on a free port, for this test.
func onRedis(t *testing.T) server {
	t.Helper()
	p := startRedis(t)
	return server{p.url, func() { p.do(t, "flushall") }}
}

// replicas makes stores by name, with the given clock.
func (s server) replicas(t *testing.T, now func() time.Time) storetest.Harness {
	t.Helper()
	var mu sync.Mutex
	stores := make(map[string]*Store)
	return storetest.Harness{Flush: s.flush, Replica: func(name string) limiter.Store {
		mu.Lock()
		defer mu.Unlock()
		if stores[name] == nil {
			store := mustOpen(t, Config{URL: s.url, Egress: "test"})
			store.name, store.now = name, now
			stores[name] = store
		}
		return stores[name]
	}}
}

// patience is the bound in tests that do not test it: the machine may be busy.
const patience = 10 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// mustOpen opens a store that the test closes.
func mustOpen(tb testing.TB, c Config) *Store {
	tb.Helper()
	if c.Log == nil {
		c.Log = quiet
	}
	s, err := open(c, patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

var servers = map[string]func(t *testing.T) server{"miniredis": onMiniredis, "redis-server": onRedis}

// The script does what every store must do.
func TestContract(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				t.Helper()
				s.flush()
				return storetest.New(func(now func() time.Time) storetest.Harness { return s.replicas(t, now) })
			})
		})
	}
}

// The script does what limiter.Memory does, whatever is reported.
func TestScriptIsLikeMemory(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			var h storetest.Harness
			clock := func() time.Time { return time.Time{} }
			h = s.replicas(t, func() time.Time { return clock() })
			storetest.RunAlike(t, func(_ *testing.T, now func() time.Time) storetest.Harness {
				clock = now
				return h
			})
		})
	}
}

// A process is a redis-server that the test may stop.
type process struct {
	url     string
	port    string
	path    string
	dir     string
	command *exec.Cmd
}

// startRedis starts a redis-server on a free port that keeps nothing on disk, or
// skips the test where it is not installed.
func startRedis(tb testing.TB) *process {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		tb.Fatal("redis-server is not installed; .ci/setup installs it")
	}
	if err != nil {
		tb.Skip("redis-server is not installed")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	p := &process{url: "redis://127.0.0.1:" + port, port: port, path: path, dir: tb.TempDir()}
	tb.Cleanup(p.kill)
	p.restart(tb)
	return p
}

// restart starts the server, which has kept nothing.
func (p *process) restart(tb testing.TB) {
	tb.Helper()
	p.command = exec.Command(p.path, "--port", p.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", p.dir)
	if err := p.command.Start(); err != nil {
		tb.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+p.port); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	tb.Fatal("redis-server does not answer")
}

func (p *process) kill() {
	p.command.Process.Kill()
	p.command.Wait()
}

func (p *process) signal(s syscall.Signal) { p.command.Process.Signal(s) }

func (p *process) do(t *testing.T, args ...any) {
	t.Helper()
	client, err := newClient(p.url, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

package redisstore

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

var report = limiter.Report{Upstream: "acme.bitrix24.com", Plan: limiter.Standard, Want: 1, Clients: 1}

// A logbook is a log that a test reads while it is written.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) log() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) has(s string) bool { return l.count(s) > 0 }

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

// serve has a function called with each connection to an address, until the test ends.
func serve(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after 30 s it is not so that %s", what)
}

// A store that does not answer is away after a while. Requests fail at once then.
// When it is back, that is noticed without a request.
func TestStoreGoesAwayAndComesBack(t *testing.T) {
	m := miniredis.RunT(t)
	var log logbook
	var failed sync.Map
	s := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e", Log: log.log()})
	s.Watch(func(_ time.Duration, f bool) { failed.Store(f, true) })
	eventually(t, "the store gives slots", func() bool { _, err := s.Sync(report); return err == nil })
	m.Close()
	_, err := s.Sync(report)
	away, is := errors.AsType[*limiter.Away](err)
	if err == nil || is {
		t.Errorf("at first: got %v, want an error, and that the store is not away yet", err)
	}
	eventually(t, "the store is away", func() bool {
		_, err = s.Sync(report)
		away, is = errors.AsType[*limiter.Away](err)
		return is
	})
	if away.Replicas != 1 || time.Since(away.Since) > patience || away.Cause == nil {
		t.Fatalf("got %#v, want that it is away, with the one replica that was seen", err)
	}
	if state := s.State(); state.Up || state.Since != away.Since || state.Replicas != 1 {
		t.Errorf("got %+v, want it away since %v", state, away.Since)
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is back", func() bool { return s.State().Up })
	eventually(t, "the store gives slots again", func() bool { _, err := s.Sync(report); return err == nil })
	if !log.has("the shared store is away") || !log.has("the shared store is back") {
		t.Errorf("got the log %s, want both turns", &log.text)
	}
	for _, f := range []bool{false, true} {
		if _, seen := failed.Load(f); !seen {
			t.Errorf("no request was reported whose failure is %v", f)
		}
	}
}

// A store that does not answer is given up after the bound. No call waits for it
// twice.
func TestSlowStore(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	s, err := Open(Config{URL: "redis://" + deaf.Addr().String(), Egress: "e", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("got %v, want to start without the store", err)
	}
	t.Cleanup(func() { s.Close() })
	began := time.Now()
	for range 1000 {
		if _, err := s.Sync(report); err == nil {
			t.Fatal("got a reply of a store that does not answer")
		}
	}
	if took := time.Since(began); took > 40*limiter.SyncBound {
		t.Errorf("1000 requests took %v, want no wait for most of them", took)
	}
	if state := s.State(); state.Up || state.Replicas != 0 {
		t.Errorf("got %+v, want it away, and no replica ever seen", state)
	}
}

// A store that is full, and takes no writes, is away until it is not full any more.
func TestFullStore(t *testing.T) {
	p := storetest.StartRedis(t)
	s := mustOpen(t, Config{URL: p.URL, Egress: "e"})
	p.Do(t, "config", "set", "maxmemory", "1")
	if _, err := s.Sync(report); err == nil {
		t.Error("got a reply of a full store, want an error")
	}
	p.Do(t, "config", "set", "maxmemory", "0")
	eventually(t, "the store is back", func() bool { return s.State().Up })
}

// The keys of a portal name it and the egress id, are on one node of a cluster, and
// expire. The clock is the server's: the wall clock of the replica does not matter.
func TestKeys(t *testing.T) {
	m := miniredis.RunT(t)
	m.SetTime(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	s := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "office"})
	r := report
	r.Want = 100
	for _, step := range []struct {
		at      time.Duration
		granted int
	}{{time.Second, 49}, {11 * time.Second, 17}} { // two a second, since the lease of the first ones is over
		m.SetTime(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC).Add(step.at))
		if reply, err := s.Sync(r); err != nil || reply.Granted != step.granted {
			t.Errorf("at %v of the server's clock: got %d slots and %v, want %d", step.at, reply.Granted, err, step.granted)
		}
	}
	const bucket, beats, replicas, key, store = "b24:{office|acme.bitrix24.com}:bucket", "b24:{office}:beats", "b24:{office}:replicas", "b24:{office}:key", "b24:{office}:store"
	if keys, want := m.Keys(), []string{bucket, beats, key, replicas, store}; !slices.Equal(keys, want) {
		t.Errorf("got the keys %q, want %q", keys, want)
	}
	for _, name := range []string{bucket, beats, replicas, store} {
		if m.TTL(name) <= 0 {
			t.Errorf("%s does not expire", name)
		}
	}
}

package redisstore

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"b24proxy/limiter/storetest"
	"b24proxy/proxy/replay"
	"b24proxy/proxy/replay/replaytest"
)

// The store does what each replay.Shared must do.
func TestWrites(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			replaytest.Run(t, func(t *testing.T) replaytest.Harness {
				t.Helper()
				s := start(t)
				var mu sync.Mutex
				stores := make(map[string]*Store)
				replica := func(name string) *Store {
					mu.Lock()
					defer mu.Unlock()
					if stores[name] == nil {
						stores[name] = mustOpen(t, Config{URL: s.url, Egress: "test"})
					}
					return stores[name]
				}
				return replaytest.Harness{
					Replica: func(name string) replay.Shared { return replica(name) },
					Kill:    func(name string) { replica(name).end() },
					Flush:   s.flush,
					Pass:    s.pass,
				}
			})
		})
	}
}

// Answers do not fill the server, which has to have room for the buckets: they are kept
// while it is less than half full. What became of a write is kept in any case.
func TestAnswersLeaveRoom(t *testing.T) {
	r := storetest.StartRedis(t)
	r.Do(t, "config", "set", "maxmemory", "20mb")
	var log logbook
	a, b := mustOpen(t, Config{URL: r.URL, Egress: "e", Log: log.log()}), mustOpen(t, Config{URL: r.URL, Egress: "e"})
	kept := 0
	for n := range 100 {
		id := fmt.Sprint(n)
		w := Write{Portal: "p", ID: id, Calls: []string{id}, Text: "text", Keep: time.Hour, Open: time.Hour, Orphan: -1, Version: 2, Answer: make([]byte, 256<<10)}
		if _, err := a.SaveWrite(w); err != nil {
			t.Fatal(err)
		}
		w.ID = "again " + id
		first, _, err := b.MeetWrite(w, 0)
		if err != nil || first.ID != id {
			t.Fatalf("%s: got %q and %v, want the first", id, first.ID, err)
		}
		if len(first.Answer) > 0 {
			kept++
		}
	}
	if kept < 20 || kept > 50 {
		t.Errorf("got %d answers of 256 kB kept, want less than 20 MB allow", kept)
	}
	if n := log.count("more than half full"); n != 1 {
		t.Errorf("got %d lines that there is no room for answers, want 1", n)
	}
}

// Neither do writes, of which a replica remembers those with a key for a day. Beyond three
// quarters of the server each replica knows its own alone, says so once, and counts each as
// a request that failed.
func TestWritesLeaveRoom(t *testing.T) {
	r := storetest.StartRedis(t)
	r.Do(t, "config", "set", "maxmemory", "4mb")
	var log logbook
	var failed atomic.Int64
	s := mustOpen(t, Config{URL: r.URL, Egress: "e", Log: log.log()})
	s.Watch(func(_ time.Duration, f bool) {
		if f {
			failed.Add(1)
		}
	})
	for n := range 5000 {
		id := fmt.Sprint(n)
		w := Write{Portal: "p", ID: id, Calls: []string{id}, Keys: []string{id}, Text: strings.Repeat("x", 200), Keep: time.Hour, Version: 1}
		if _, _, err := s.MeetWrite(w, 0); err != nil {
			t.Fatal(err)
		}
		w.Version, w.Sent = 2, true
		if _, err := s.SaveWrite(w); err != nil {
			t.Fatal(err)
		}
	}
	if first, err := s.FindWrite("p", "0", 0); first.ID == "" || err != nil {
		t.Errorf("got %+v, %v, want the first write", first, err)
	}
	if last, err := s.FindWrite("p", "4999", 0); last.ID != "" || err != nil {
		t.Errorf("got %+v, %v, want that there was no room for the last write", last, err)
	}
	if _, err := s.Sync(report); err != nil {
		t.Errorf("got %v, want room for a bucket", err)
	}
	if n := log.count("more than three quarters full"); n != 1 || failed.Load() < 1000 {
		t.Errorf("got %d lines that there is no room for writes and %d failed requests, want 1 and most of the writes", n, failed.Load())
	}
}

// A write that was under way at a replica that ends is known to be lost at once, and stays
// open for who repeats it. One that was not sent is nobody's.
func TestEndOfReplicaLosesItsWritesAtOnce(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url := start(t).url
			a, b := mustOpen(t, Config{URL: url, Egress: "e"}), mustOpen(t, Config{URL: url, Egress: "e"})
			write := func(id, call string) Write {
				return Write{Portal: "p", ID: id, Calls: []string{call}, Text: "text", Keep: time.Hour, Version: 1}
			}
			for _, call := range []string{"sent", "waiting"} {
				if first, wait, err := a.MeetWrite(write(call, call), 0); first.ID != "" || wait || err != nil {
					t.Fatalf("got %+v, %v, %v, want the write added", first, wait, err)
				}
			}
			sent := write("sent", "sent")
			sent.Version, sent.Sent, sent.Busy, sent.Orphan = 2, true, true, time.Minute
			if _, err := a.SaveWrite(sent); err != nil {
				t.Fatal(err)
			}
			a.Close()
			if first, wait, err := b.MeetWrite(write("again", "sent"), 0); first.ID != "sent" || !first.IsLost || wait || err != nil {
				t.Errorf("got %+v, %v, %v, want the first, lost", first, wait, err)
			}
			if found, err := b.FindWrite("p", "sent", 0); !found.IsLost || err != nil {
				t.Errorf("got %+v, %v, want it lost for who waits for it, too", found, err)
			}
			if first, wait, err := b.MeetWrite(write("instead", "waiting"), 0); first.ID != "" || wait || err != nil {
				t.Errorf("got %+v, %v, %v, want the write added in place of the one that was not sent", first, wait, err)
			}
		})
	}
}

// A replica notices that the store was emptied, and saves its writes again. Meanwhile no
// write is taken for one that repeats nothing.
func TestEmptiedStoreIsToldItsWrites(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			s := mustOpen(t, Config{URL: server.url, Egress: "e"})
			again := make(chan bool, 9)
			s.WhenLost(func() { again <- true })
			time.Sleep(2 * beatInterval)
			server.flush()
			<-again
			if _, wait, err := s.MeetWrite(Write{Portal: "p", ID: "1", Calls: []string{"1"}, Keep: time.Hour, Version: 1}, 0); !wait || err != nil {
				t.Errorf("just after the loss: got %t and %v, want that the write waits", wait, err)
			}
			time.Sleep(2 * beatInterval)
			if len(again) > 0 {
				t.Error("the writes are saved again more than once for one loss")
			}
		})
	}
}

// The key of the replicas that know a store outlives it: a replica that comes first after
// a loss must not give them another.
func TestKeyOutlivesTheStore(t *testing.T) {
	m := miniredis.RunT(t)
	old := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	key := string(old.Key())
	time.Sleep(2 * beatInterval)
	m.FlushAll()
	m.Set(old.keyKey(), "that of a new replica")
	late := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	time.Sleep(3 * beatInterval)
	if string(old.Key()) != key || string(late.Key()) != key {
		t.Errorf("got the keys %q and %q, want %q at both", old.Key(), late.Key(), key)
	}
}

// A replica that has a key of its own keeps it when a new store comes.
func TestOwnKeyStays(t *testing.T) {
	m := miniredis.RunT(t)
	var keys []string
	c := Config{URL: "redis://" + m.Addr(), Egress: "e", Log: quiet, OwnKey: []byte("own"), Key: func(key []byte) { keys = append(keys, string(key)) }}
	m.SetError("LOADING")
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	m.SetError("")
	eventually(t, "the store is there", func() bool { return s.State().Up && s.State().Replicas == 1 })
	s.Close()
	if len(keys) != 1 || keys[0] != "own" {
		t.Errorf("got the keys %q, want the replica's own, once", keys)
	}
}

package redisstore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A listener keeps what it hears.
type listener struct {
	mu    sync.Mutex
	texts []string
	ages  []time.Duration
}

func (l *listener) hear(text []byte, age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts = append(l.texts, string(text))
	l.ages = append(l.ages, age)
}

func (l *listener) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.texts, text)
}

// What one replica publishes the others hear that have the same egress id, also after
// the store was away, and it does not hear it itself.
func TestNews(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url := start(t).url
			var own, other, foreign listener
			a := mustOpen(t, Config{URL: url, Egress: "e"})
			a.Hear(own.hear)
			mustOpen(t, Config{URL: url, Egress: "e"}).Hear(other.hear)
			mustOpen(t, Config{URL: url, Egress: "f"}).Hear(foreign.hear)
			eventually(t, "the other hears it", func() bool {
				a.Publish("s", []byte("one word and more"), time.Minute)
				return other.has("one word and more")
			})
			if own.has("one word and more") || foreign.has("one word and more") {
				t.Error("the replica heard itself, or one with another egress id did")
			}
		})
	}
}

// A replica that comes later hears the last news of each subject that still hold, and how
// old they are. So does one whose connection was lost.
func TestNewsAreKept(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url := start(t).url
			w := newWire(t, strings.TrimPrefix(url, "redis://"))
			var early, late listener
			a, b := mustOpen(t, Config{URL: url, Egress: "e"}), mustOpen(t, Config{URL: w.url, Egress: "e"})
			a.Hear(func([]byte, time.Duration) {})
			b.Hear(early.hear)
			a.Publish("s", []byte("old"), time.Minute)
			a.Publish("s", []byte("new"), time.Minute)
			a.Publish("t", []byte("short"), time.Millisecond)
			a.Publish("u", []byte("other words"), time.Minute)
			eventually(t, "all are published", func() bool { return early.has("other words") })
			time.Sleep(100 * time.Millisecond)
			mustOpen(t, Config{URL: url, Egress: "e"}).Hear(late.hear)
			eventually(t, "it hears what is kept", func() bool { return late.has("new") && late.has("other words") })
			if late.has("old") || late.has("short") || late.ages[0] < 100*time.Millisecond || late.ages[0] > patience {
				t.Errorf("got %q of ages %v, want what holds still, published 0.1 s ago", late.texts, late.ages)
			}
			w.cut()
			a.Publish("s", []byte("missed"), time.Minute)
			time.Sleep(100 * time.Millisecond)
			w.mend()
			eventually(t, "it hears what it has missed", func() bool { return early.has("missed") })
		})
	}
}

// The store keeps so many news and no more. Those that hold longest go first.
func TestKeptNewsAreBounded(t *testing.T) {
	m := miniredis.RunT(t)
	a := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	for i := range maxKept + 10 {
		a.publish(t.Context(), news{fmt.Sprint(i), []byte("text"), time.Hour - time.Duration(i)*time.Second})
	}
	kept, err := m.HKeys("b24:{e}:kept")
	if err != nil || len(kept) != maxKept || slices.Contains(kept, "0") || !slices.Contains(kept, fmt.Sprint(maxKept+9)) {
		t.Errorf("got %d news and %v, want the %d that hold shortest", len(kept), err, maxKept)
	}
	for _, key := range []string{"b24:{e}:kept", "b24:{e}:kept-until"} {
		if ttl := m.TTL(key); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s expires after %v, want an hour at most", key, ttl)
		}
	}
}

// News that nobody can be sent are dropped, and Publish does not wait.
func TestNewsWhileTheStoreIsAway(t *testing.T) {
	m := miniredis.RunT(t)
	var other listener
	a, b := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	a.Hear(func([]byte, time.Duration) {})
	b.Hear(other.hear)
	m.Close()
	for range 3 * maxOutbox {
		a.Publish("s", []byte("lost"), time.Minute)
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other hears what comes later", func() bool {
		a.Publish("s", []byte("later"), time.Minute)
		return other.has("later")
	})
}

// All replicas get one key, whichever starts first, and keep it when the store loses
// it.
func TestReplicasHaveOneKey(t *testing.T) {
	m := miniredis.RunT(t)
	var mu sync.Mutex
	keys := make(map[string][]byte)
	replica := func(name string) {
		mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e", Key: func(key []byte) {
			mu.Lock()
			defer mu.Unlock()
			keys[name] = key
		}})
	}
	same := func(a, b string) bool {
		mu.Lock()
		defer mu.Unlock()
		return len(keys[a]) >= 26 && bytes.Equal(keys[a], keys[b])
	}
	replica("a")
	replica("b")
	if !same("a", "b") {
		t.Errorf("got %q, want one key of 128 bits or more", keys)
	}
	m.FlushAll()
	eventually(t, "the store has the key again", func() bool { return m.Exists("b24:{e}:key") })
	replica("c")
	if !same("a", "c") {
		t.Errorf("after the store lost it: got %q, want the same key", keys)
	}
}

package redisstore

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// A listener keeps what it hears.
type listener struct {
	mu    sync.Mutex
	texts []string
}

func (l *listener) hear(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts = append(l.texts, string(text))
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
				a.Publish([]byte("one word and more"))
				return other.has("one word and more")
			})
			if own.has("one word and more") || foreign.has("one word and more") {
				t.Error("the replica heard itself, or one with another egress id did")
			}
		})
	}
}

// News that nobody can be sent are dropped, and Publish does not wait.
func TestNewsWhileTheStoreIsAway(t *testing.T) {
	m := miniredis.RunT(t)
	var other listener
	a, b := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	a.Hear(func([]byte) {})
	b.Hear(other.hear)
	m.Close()
	for range 3 * maxOutbox {
		a.Publish([]byte("lost"))
	}
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other hears what comes later", func() bool {
		a.Publish([]byte("later"))
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

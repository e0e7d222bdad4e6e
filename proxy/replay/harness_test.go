package replay

import (
	"fmt"
	"time"
)

// What the tests of package replay_test need.
type Notes = notes

var CallOf = callOf

// Held is how much a memory holds.
func (m *Memory) Held() (entries, names, answers int, bytes int64) {
	return m.entries, len(m.index), m.answers.Len(), m.bytes
}

// notes is a store in memory.
type notes map[string]struct {
	until time.Time
	text  string
}

func (n notes) SaveNote(id string, until time.Time, text string) error {
	n[id] = struct {
		until time.Time
		text  string
	}{until, text}
	return nil
}

func (n notes) RemoveNote(id string) error {
	delete(n, id)
	return nil
}

func (n notes) Notes() map[string]string {
	all := make(map[string]string)
	for id, note := range n {
		if time.Now().Before(note.until) {
			all[id] = note.text
		}
	}
	return all
}

func sum(s ...any) (made Sum) {
	copy(made[:], fmt.Sprint(s...))
	return made
}

func callOf(credential, call, key string) Call {
	c := Call{Portal: "p", RequestID: "r", Sum: sum(call), IDs: []Sum{sum(credential, call)}, IsIdempotent: call == "update"}
	if key != "" {
		c.Keys = []Sum{sum(credential, "key", key)}
	}
	return c
}

// Unsaved is how many entries wait for the replicas' store.
func (m *Memory) Unsaved() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unsaved.Len()
}

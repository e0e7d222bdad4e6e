// Package replaytest has what every replay.Shared must do, as tests that each one runs,
// and one for replicas in this process.
package replaytest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"b24proxy/proxy/replay"
)

const (
	beatInterval = 500 * time.Millisecond
	deadAfter    = 3 * time.Second
)

// A Memory is a replay.Shared for replicas in this process: a plain list, through which
// it looks for everything.
type Memory struct {
	mu       sync.Mutex
	records  []*record
	replicas map[string]*Replica
	isAway   bool
	requests int
	again    []func()
}

type record struct {
	replay.Record
	owner             string
	saved             time.Time
	isTaken, received bool
	isKeyOver         bool
}

// NewMemory returns an empty memory.
func NewMemory() *Memory { return &Memory{replicas: make(map[string]*Replica)} }

// A Replica is a replica's own view.
type Replica struct {
	memory      *Memory
	name        string
	began, died time.Time
}

var _ replay.Shared = (*Replica)(nil)

// Replica returns the one with a name, which begins to live if it has not before.
func (m *Memory) Replica(name string) *Replica {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replicas[name] == nil {
		m.replicas[name] = &Replica{memory: m, name: name, began: time.Now()}
	}
	return m.replicas[name]
}

// Kill ends a replica without a word.
func (m *Memory) Kill(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replicas[name].died = time.Now()
}

// Forget loses all that is known.
func (m *Memory) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = nil
}

// Flush does so, and says it.
func (m *Memory) Flush() {
	m.Forget()
	m.mu.Lock()
	again := m.again
	m.mu.Unlock()
	for _, save := range again {
		save()
	}
}

// WhenLost is replay.Shared's.
func (p *Replica) WhenLost(again func()) {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	p.memory.again = append(p.memory.again, again)
}

// SetAway makes each request fail, or no longer.
func (m *Memory) SetAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.isAway = away
}

// Requests is how many there were.
func (m *Memory) Requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// Len is the number of calls that are remembered.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	return len(m.records)
}

var errAway = errors.New("the store is away")

// request begins a request, and returns the function that ends it.
func (m *Memory) request() (end func(), err error) {
	m.mu.Lock()
	m.requests++
	if m.isAway {
		err = errAway
	}
	m.forget()
	return m.mu.Unlock, err
}

func (m *Memory) forget() {
	m.records = slices.DeleteFunc(m.records, func(r *record) bool { return time.Since(r.saved) >= r.Keep })
}

// absent is for how long a replica has not been seen.
func (m *Memory) absent(name string) time.Duration {
	r := m.replicas[name]
	if r.died.IsZero() {
		return time.Since(r.began) % beatInterval
	}
	return time.Since(r.died)
}

// isLost reports whether the replica of a call has died with it.
func (m *Memory) isLost(r *record) bool { return r.Orphan >= 0 && m.absent(r.owner) > deadAfter }

// isOpen reports whether an identical call repeats it.
func (m *Memory) isOpen(r *record) bool {
	if m.isLost(r) {
		return m.absent(r.owner) < r.Orphan
	}
	return time.Since(r.saved) < r.Open
}

// MeetWrite is replay.Shared's.
func (p *Replica) MeetWrite(own replay.Record, since time.Duration) (first replay.Record, wait bool, err error) {
	m := p.memory
	end, err := m.request()
	defer end()
	if err != nil || m.find(own.Portal, own.ID) != nil {
		return first, false, err
	}
	for _, r := range m.records {
		isKey, isCall := haveOne(own.Keys, r.Keys) && !r.isKeyOver, len(own.Keys) == 0 && haveOne(own.Calls, r.Calls) && !r.received
		isLost := m.isLost(r)
		switch {
		case r.Portal != own.Portal || r.owner == p.name || r.isTaken || r.IsOver || !isKey && !isCall:
		case isLost && r.Orphan == 0:
			r.isTaken = true
		case isKey || m.isOpen(r):
			return m.shown(r), false, nil
		case r.Busy && !isLost && m.absent(r.owner) >= since:
			wait = true
		}
	}
	if !wait {
		m.records = append(m.records, &record{Record: own, owner: p.name, saved: time.Now()})
	}
	return first, wait, nil
}

func haveOne(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func (m *Memory) find(portal, id string) *record {
	for _, r := range m.records {
		if r.Portal == portal && r.ID == id {
			return r
		}
	}
	return nil
}

func (m *Memory) shown(r *record) replay.Record {
	shown := r.Record
	shown.IsLost, shown.IsReceived = m.isLost(r), r.received
	return shown
}

// SaveWrite is replay.Shared's.
func (p *Replica) SaveWrite(r replay.Record) (isTaken bool, err error) {
	m := p.memory
	end, err := m.request()
	defer end()
	if err != nil {
		return false, err
	}
	known := m.find(r.Portal, r.ID)
	switch {
	case known == nil:
		m.records = append(m.records, &record{Record: r, owner: p.name, saved: time.Now()})
	case known.isTaken:
		return true, nil
	case known.Version < r.Version:
		known.Record, known.saved = r, time.Now()
	}
	return false, nil
}

// FindWrite is replay.Shared's.
func (p *Replica) FindWrite(portal, id string, _ time.Duration) (replay.Record, error) {
	end, err := p.memory.request()
	defer end()
	r := p.memory.find(portal, id)
	switch {
	case err == nil && r != nil && r.isTaken:
		return replay.Record{Portal: portal, ID: id}, nil
	case err == nil && r != nil:
		return p.memory.shown(r), nil
	}
	return replay.Record{}, err
}

// ReceiveWrite is replay.Shared's.
func (p *Replica) ReceiveWrite(portal, id string, keepsKey bool) error {
	end, err := p.memory.request()
	defer end()
	if r := p.memory.find(portal, id); err == nil && r != nil {
		r.received, r.isKeyOver = true, !keepsKey
	}
	return err
}

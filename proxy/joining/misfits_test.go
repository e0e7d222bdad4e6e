package joining

import (
	"testing"
	"time"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// What fails now and then may travel, what often fails is sent alone for five minutes.
func TestMisfitsAreThoseThatOftenFail(t *testing.T) {
	for name, c := range map[string]struct {
		every, weight int // how many reads there are for one that fails, and what that weighs
		want          bool
	}{
		"all reads of a method":             {1, OfMethod, true},
		"one read of a method in five":      {5, OfMethod, true},
		"one read of a method in a hundred": {100, OfMethod, false},
		"all reads of a credential":         {1, OfCredential, true},
		"one read of a credential in two":   {2, OfCredential, true},
		"one read of a credential in four":  {4, OfCredential, false},
		"all batches of a credential":       {1, OfBatch, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMisfits()
			for i := range 3000 {
				if i%c.every == 0 {
					m.Failed(now, "crm.deal.get", c.weight)
				} else {
					m.Succeeded(now, "crm.deal.get")
				}
			}
			if got := m.Has(now, "crm.deal.get"); got != c.want {
				t.Errorf("got a misfit: %v, want %v", got, c.want)
			}
			if m.Has(now, "user.get") || m.Has(now.Add(pause), "crm.deal.get") {
				t.Error("got a misfit that never failed, or for too long, want none")
			}
		})
	}
}

// A method that the portal does not allow within a batch is sent alone at once.
func TestRefusedIsAMisfitAtOnce(t *testing.T) {
	m := NewMisfits()
	m.Refused(now, "crm.deal.get")
	m.Succeeded(now, "crm.deal.get") // by one that was under way
	if !m.Has(now.Add(pause-1), "crm.deal.get") || m.Has(now.Add(pause), "crm.deal.get") {
		t.Error("got no misfit, or one for too long, want one for five minutes")
	}
}

// What succeeds takes no memory.
func TestMisfitsForget(t *testing.T) {
	m := NewMisfits()
	m.Succeeded(now, "a")
	m.Failed(now, "b", OfMethod)
	for range OfMethod {
		m.Succeeded(now, "b")
	}
	if got := m.records.Len(); got != 0 {
		t.Errorf("got %d records, want none", got)
	}
}

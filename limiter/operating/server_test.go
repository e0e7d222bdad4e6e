package operating

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Before a model of either server, whether it reports much or little, with calls
// in parallel and errors that report nothing, the Guard's calls are refused
// rarely, it never gets stuck, and it uses most of what the server would grant.
func TestAgainstServers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &server{
			ban:     rapid.Bool().Draw(t, "ban"),
			reports: rapid.IntRange(0, 2).Draw(t, "reports"),
			sees:    rapid.Bool().Draw(t, "sees parallel calls"),
			errors:  rapid.IntRange(0, 3).Draw(t, "errors in ten"),
			skew:    time.Duration(rapid.SampledFrom([]int{0, 0, -3600, -5, 5, 3600}).Draw(t, "skew")) * time.Second,
		}
		workers := rapid.IntRange(1, 8).Draw(t, "workers")
		cost := rapid.IntRange(1, 20).Draw(t, "cost")
		g := newGuard(budgetLimit, 10)
		ends := make([]time.Time, workers)
		calls := make([]*serverCall, workers)
		for now := epoch; now.Before(epoch.Add(time.Hour)); now = now.Add(time.Second) {
			for w := range workers {
				if c := calls[w]; c != nil {
					if now.Before(ends[w]) {
						continue
					}
					c.pass.Done(now, s.end(now, c))
					calls[w] = nil
				}
				if p, _, _ := g.Enter(now, method, now); p != nil {
					calls[w] = s.begin(now, p)
					ends[w] = now.Add(time.Duration(1+(cost+w)%20) * time.Second)
				}
			}
		}
		if granted := 6 * budgetLimit; s.worked < granted/2 {
			t.Errorf("used %v of %v, want half or more (%+v)", s.worked, granted, s)
		}
		if most := 12 * (1 + workers); s.refused > most {
			t.Errorf("refused %d times, want %d at most", s.refused, most)
		}
		if s.reports == 2 && s.skew == 0 && s.errors == 0 && s.refused > workers {
			t.Errorf("refused %d times by a server that reports everything, want %d at most (%+v)", s.refused, workers, s)
		}
	})
}

// A server counts operating time as one of the two generations does.
type server struct {
	ban     bool          // the newer one: a ban of 300 s, then from zero
	reports int           // 0: nothing; 1: the sum; 2: the reset too
	sees    bool          // the sum counts calls that ended in the meantime
	errors  int           // so many of ten calls fail and report nothing
	skew    time.Duration // of its clock

	baskets map[int64]time.Duration // by minute
	banned  time.Time
	calls   int
	worked  time.Duration
	refused int
}

type serverCall struct {
	pass   *Pass
	start  time.Time
	before time.Duration
	fails  bool
	block  bool
}

func (s *server) sum(now time.Time) (sum time.Duration, oldest int64) {
	oldest = now.Unix() / 60
	for m, d := range s.baskets {
		if m <= now.Unix()/60-10 {
			delete(s.baskets, m)
			continue
		}
		sum, oldest = sum+d, min(oldest, m)
	}
	return sum, oldest
}

func (s *server) begin(now time.Time, p *Pass) *serverCall {
	s.calls++
	c := &serverCall{pass: p, start: now, fails: s.calls%10 < s.errors}
	c.before, _ = s.sum(now)
	switch {
	case s.ban && now.Before(s.banned):
		c.block = true
	case c.before > budgetLimit:
		c.block = true
		if s.ban {
			s.banned, s.baskets = now.Add(300*time.Second), nil
		}
	}
	if c.block {
		s.refused++
	}
	return c
}

func (s *server) end(now time.Time, c *serverCall) Answer {
	if c.block {
		return Answer{Blocked: true, Took: time.Millisecond}
	}
	if s.baskets == nil {
		s.baskets = make(map[int64]time.Duration)
	}
	cost := now.Sub(c.start)
	s.worked += cost
	s.baskets[now.Unix()/60] += cost
	a := Answer{Ran: true, Took: cost}
	if c.fails || s.reports == 0 {
		return a
	}
	sum, oldest := s.sum(now)
	if !s.sees {
		sum = c.before + cost
	}
	a.Usage = Usage{Known: true, Used: sum}
	if s.reports == 2 {
		a.Usage.ResetAt = time.Unix(oldest*60+600, 0).Add(s.skew)
	}
	return a
}

package operator

import "time"

// A series counts in intervals of seriesStep: those of the last five minutes
// and the one that goes on. Moments are spans since the process began, on the
// clock that nobody sets.
type series struct {
	slots  [seriesSteps + 1]slot
	newest int64 // number of the interval that goes on
}

const (
	seriesStep  = 5 * time.Second
	seriesSteps = 60
	minuteSteps = int64(time.Minute / seriesStep)
)

// A slot is one interval.
type slot struct {
	calls        int32 // of clients, that ended
	failed       int32 // of them: by the portal, on the network, or refused here
	methodErrors int32 // of them: answered with a method's own error
	refused      int32 // attempts that the portal refused for its rate limit
	waiting      int32 // the most that were seen waiting
	longest      time.Duration
}

// at is the interval of a moment; what is older than the ring is forgotten.
func (s *series) at(since time.Duration) *slot {
	n := int64(max(since, 0)/seriesStep) + int64(len(s.slots)) // those before the beginning have numbers too
	for from := max(s.newest, n-int64(len(s.slots))); from < n; {
		from++
		s.slots[from%int64(len(s.slots))] = slot{}
	}
	s.newest = max(s.newest, n)
	return &s.slots[s.newest%int64(len(s.slots))]
}

// lastMinute sums the interval that goes on and those of the minute before it.
func (s *series) lastMinute(since time.Duration) (sum slot) {
	s.at(since)
	for n := s.newest - minuteSteps; n <= s.newest; n++ {
		o := s.slots[n%int64(len(s.slots))]
		sum.calls += o.calls
		sum.failed += o.failed
		sum.methodErrors += o.methodErrors
		sum.refused += o.refused
		sum.waiting = max(sum.waiting, o.waiting)
		sum.longest = max(sum.longest, o.longest)
	}
	return sum
}

// status lists the intervals that are over, the oldest first; now is the moment
// as people read it.
func (s *series) status(since time.Duration, now time.Time) *seriesStatus {
	s.at(since)
	out := &seriesStatus{
		StepSeconds: seriesStep.Seconds(),
		End:         moment(now.Add(-since % seriesStep)),
	}
	for i := range out.Calls {
		o := s.slots[(s.newest-seriesSteps+int64(i))%int64(len(s.slots))]
		out.Calls[i], out.Failed[i], out.Waiting[i] = o.calls, o.failed, o.waiting
	}
	return out
}

package operator

import "time"

// A series counts in intervals of seriesStep: those of the last five minutes and
// the current one. Its moments are spans since the process began, so setting the
// wall clock changes nothing.
type series struct {
	intervals [seriesSteps + 1]interval
	newest    int64 // number of the current interval
}

const (
	seriesStep  = 5 * time.Second
	minuteSteps = int64(time.Minute / seriesStep)
)

// An interval is what happened in a seriesStep.
type interval struct {
	calls        int32 // of clients that ended
	failed       int32 // of them: by the portal, on the network, or refused here
	methodErrors int32 // of them: answered with a method's own error
	refused      int32 // attempts that the portal refused for its rate limit
	joined       int32 // reads that were sent in a batch with others
	batches      int32 // of them
	waiting      int32 // the most calls that were seen waiting
	longest      time.Duration
}

// at is the interval of a moment. What is older than the ring is forgotten.
func (s *series) at(since time.Duration) *interval {
	n := int64(max(since, 0)/seriesStep) + int64(len(s.intervals)) // those before the beginning have numbers too
	for from := max(s.newest, n-int64(len(s.intervals))); from < n; {
		from++
		s.intervals[from%int64(len(s.intervals))] = interval{}
	}
	s.newest = max(s.newest, n)
	return &s.intervals[s.newest%int64(len(s.intervals))]
}

// lastMinute sums the current interval and those of the minute before it.
func (s *series) lastMinute(since time.Duration) (sum interval) {
	s.at(since)
	for n := s.newest - minuteSteps; n <= s.newest; n++ {
		o := s.intervals[n%int64(len(s.intervals))]
		sum.calls += o.calls
		sum.failed += o.failed
		sum.methodErrors += o.methodErrors
		sum.refused += o.refused
		sum.joined += o.joined
		sum.batches += o.batches
		sum.waiting = max(sum.waiting, o.waiting)
		sum.longest = max(sum.longest, o.longest)
	}
	return sum
}

// status lists the intervals that are over, the oldest first. now is the moment
// on the wall clock.
func (s *series) status(since time.Duration, now time.Time) *seriesStatus {
	s.at(since)
	out := &seriesStatus{
		StepSeconds: seriesStep.Seconds(),
		End:         moment(now.Add(-since % seriesStep)),
	}
	for i := range out.Calls {
		o := s.intervals[(s.newest-seriesSteps+int64(i))%int64(len(s.intervals))]
		out.Calls[i], out.Failed[i], out.Waiting[i] = o.calls, o.failed, o.waiting
	}
	return out
}

package operator

import "time"

// A series counts in intervals of seriesStep: those of the last five minutes and
// the current one. Its moments are spans since the process began, so setting the
// wall clock changes nothing.
type series struct{ intervals ring[interval] }

const (
	seriesStep  = 5 * time.Second
	minuteSteps = int32(time.Minute / seriesStep)
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

func intervalOf(since time.Duration) int32 { return stepOf(since, seriesStep) }

// at is the interval of a moment.
func (s *series) at(since time.Duration) *interval {
	return s.intervals.at(intervalOf(since), seriesSteps)
}

// lastMinute sums the current interval and those of the minute before it.
func (s *series) lastMinute(since time.Duration) (sum interval) {
	for _, step := range s.intervals.since(intervalOf(since) - minuteSteps) {
		o := step.counts
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
	out := &seriesStatus{
		StepSeconds: seriesStep.Seconds(),
		End:         moment(now.Add(-since % seriesStep)),
	}
	first := intervalOf(since) - seriesSteps
	for _, step := range s.intervals.since(first) {
		if i := step.number - first; i < seriesSteps {
			out.Calls[i], out.Failed[i], out.Waiting[i] = step.counts.calls, step.counts.failed, step.counts.waiting
		}
	}
	return out
}

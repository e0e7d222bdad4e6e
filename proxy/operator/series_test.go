package operator

import (
	"slices"
	"testing"
	"time"
)

// A series counts by interval since the process began, shows the last minute,
// and forgets what is older than its ring.
func TestSeries(t *testing.T) {
	var s series
	for i := range 120 { // a call a second for two minutes
		s.at(time.Duration(i)*time.Second).calls++
	}
	since := 119 * time.Second
	if got := s.lastMinute(since).calls; got != 65 {
		t.Errorf("%d calls in the last minute and the interval that goes on", got)
	}
	shown := s.status(since, epochAt(119))
	if len(shown.Calls) != seriesSteps || shown.Calls[seriesSteps-1] != 5 || shown.Calls[seriesSteps-23] != 5 || shown.Calls[0] != 0 {
		t.Errorf("shown: %v", shown.Calls)
	}
	if !shown.End.Equal(epochAt(115)) {
		t.Errorf("the intervals end at %v", shown.End)
	}
	for i := 120; i < 400; i++ {
		s.at(time.Duration(i)*time.Second).calls++
	}
	if shown := s.status(399*time.Second, epochAt(399)); slices.Min(shown.Calls[:]) != 5 || slices.Max(shown.Calls[:]) != 5 {
		t.Errorf("of a call a second for five minutes are shown %v", shown.Calls)
	}
	if sum := s.lastMinute(1000 * time.Second).calls; sum != 0 {
		t.Errorf("%d calls a quarter of an hour later", sum)
	}
}

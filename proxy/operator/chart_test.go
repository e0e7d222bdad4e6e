package operator

import (
	"fmt"
	"testing"
)

// A bar of a chart is as high as its share of the peak, and never too low to be
// seen.
func TestChart(t *testing.T) {
	var values [seriesSteps]int32
	values[0], values[1], values[seriesSteps-1] = 100, 50, 1
	c := newChart("calls", "Calls", values, 5, "/s")
	want := []bar{{"0.1", "0.0", "10.0"}, {"1.1", "5.0", "5.0"}, {"59.1", "9.5", "0.5"}}
	if c.Peak != "20/s" || fmt.Sprint(c.Bars) != fmt.Sprint(want) {
		t.Errorf("got a peak of %s and the bars %v, want 20/s and %v", c.Peak, c.Bars, want)
	}
}

package operator

import "slices"

// A chart shows a number for each interval of the last five minutes as a bar.
type chart struct {
	Kind, Title, Peak string
	Width, Height     int
	Bars              []bar
}

type bar struct{ X, Y, Height string }

const chartHeight = 10

func charts(s *seriesStatus) []chart {
	return []chart{
		newChart("calls", "Calls", s.Calls, s.StepSeconds, "/s"),
		newChart("failed", "Failed", s.Failed, s.StepSeconds, "/s"),
		newChart("waiting", "Waiting", s.Waiting, 1, ""),
	}
}

// newChart draws values. So many of them make one of the unit.
func newChart(kind, title string, values [seriesSteps]int32, per float64, unit string) chart {
	peak := slices.Max(values[:])
	c := chart{Kind: kind, Title: title, Peak: decimal(float64(peak)/per) + unit, Width: seriesSteps, Height: chartHeight}
	for i, v := range values {
		if v == 0 {
			continue
		}
		height := max(0.5, chartHeight*float64(v)/float64(peak))
		c.Bars = append(c.Bars, bar{tenths(float64(i) + 0.1), tenths(chartHeight - height), tenths(height)})
	}
	return c
}

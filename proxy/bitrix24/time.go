package bitrix24

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Time is what the time element of an answer says of the operating-time
// budget of the method. There are three states [S]: nothing, Operating alone,
// and both.
type Time struct {
	// Operating is how many seconds the method has used within ten minutes for
	// the application or webhook that calls. It is a sum already.
	Operating    float64
	HasOperating bool

	// ResetAt is when the oldest minute is dropped from the sum, with a
	// resolution of a second, and zero where the answer does not say. The sum
	// may still be above the limit then.
	ResetAt time.Time

	// Finish is when the portal ended its work on the call.
	Finish time.Time
}

// maxUnix bounds ResetAt: the first second of the year 2200.
const maxUnix = 7258118400

// timeOf reads the value of a time key. What it cannot read it leaves out.
func timeOf(raw json.RawMessage) Time {
	var t Time
	for name, value := range members(raw) {
		t.set(name, textOf(value))
	}
	return t
}

// set takes one member of a time element.
func (t *Time) set(name, text string) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(seconds, 0) || math.IsNaN(seconds) || seconds < 0 {
		return
	}
	switch name {
	case "operating":
		t.Operating, t.HasOperating = seconds, true
	case "operating_reset_at":
		t.ResetAt = instant(seconds)
	case "finish":
		t.Finish = instant(seconds)
	}
}

// instant is zero for what is no time of a portal.
func instant(unix float64) time.Time {
	if unix == 0 || unix >= maxUnix {
		return time.Time{}
	}
	return time.UnixMicro(int64(unix * 1e6))
}

// UntilReset is how long after the answer, which came now, the oldest minute is
// dropped from the sum; 0 where the answer does not say. Finish tells by the
// portal's own clock, whatever that shows; without one that fits the ten minutes
// of a sum (documented), ours has to do.
func (t Time) UntilReset(now time.Time) time.Duration {
	const window = 10*time.Minute + 10*time.Second
	if t.ResetAt.IsZero() {
		return 0
	}
	if wait := t.ResetAt.Sub(t.Finish); !t.Finish.IsZero() && wait >= 0 && wait <= window {
		return wait
	}
	return max(0, t.ResetAt.Sub(now))
}

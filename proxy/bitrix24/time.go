package bitrix24

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Time is what the time element of an answer says about the operating time of the
// method. It may say nothing, give Operating alone, or give Operating and ResetAt
// (README.md#operating-time).
type Time struct {
	// Operating is the number of seconds that the method has used within ten
	// minutes for the application or webhook that calls. It is a sum already.
	Operating    float64
	HasOperating bool

	// ResetAt is when the oldest minute is dropped from the sum, to the second,
	// and zero if the answer does not say. The sum may still be above the limit
	// then.
	ResetAt time.Time

	// Duration is how long the request took at the portal, and Processing how long the
	// method itself worked (README.md#answers); 0 if the answer does not say.
	Duration, Processing time.Duration

	// Finish is when the portal finished the call, by its own clock.
	Finish time.Time
}

// maxUnix bounds ResetAt: the first second of the year 2200.
const maxUnix = 7258118400

// maxSpan bounds Duration and Processing, in seconds.
const maxSpan = 3600

func spanOf(seconds float64) time.Duration {
	return time.Duration(min(seconds, maxSpan) * float64(time.Second))
}

// timeOf reads the value of the member time. It leaves out what it cannot read.
func timeOf(raw json.RawMessage) Time {
	var t Time
	for name, value := range members(raw) {
		switch name {
		case "operating", "operating_reset_at", "duration", "processing", "finish":
			if value[0] == '"' {
				t.set(name, textOf(value))
			} else {
				t.set(name, string(value)) // which takes no memory, and may be no number
			}
		}
	}
	return t
}

// set reads one member of a time element.
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
	case "duration":
		t.Duration = spanOf(seconds)
	case "processing":
		t.Processing = spanOf(seconds)
	case "finish":
		t.Finish = instant(seconds)
	}
}

// instant returns the zero time for a number that cannot be a portal's time.
func instant(unix float64) time.Time {
	if unix == 0 || unix >= maxUnix {
		return time.Time{}
	}
	return time.UnixMicro(int64(unix * 1e6))
}

// UntilReset returns how long after the answer, which came now, the oldest minute
// is dropped from the sum, or 0 if the answer does not say. It is counted from
// Finish, since both are times of the portal's clock, which may be wrong. If Finish
// does not fit the ten minutes of a sum (README.md#operating-time), our clock is
// used.
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

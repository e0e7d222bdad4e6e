package b24sim

import "time"

// clock is virtual time: Speed virtual seconds pass in a real one. It only reads
// time.Now, so it also works in a testing/synctest bubble.
type clock struct {
	base   time.Time     // the real instant of offset
	offset time.Duration // virtual time passed at base
	speed  float64
}

func newClock(speed float64) clock {
	return clock{base: time.Now(), speed: speed}
}

// now is the virtual time since the portal was made.
func (c clock) now() time.Duration {
	return c.offset + time.Duration(float64(time.Since(c.base))*c.speed)
}

// instant is the real instant of the virtual time v.
func (c clock) instant(v time.Duration) time.Time {
	return c.base.Add(c.real(v - c.offset))
}

// real is how long a virtual duration lasts in real time.
func (c clock) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.speed)
}

// at returns a clock that continues from the same virtual time at another speed.
func (c clock) at(speed float64) clock {
	return clock{base: time.Now(), offset: c.now(), speed: speed}
}

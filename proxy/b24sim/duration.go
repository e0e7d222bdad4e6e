package b24sim

import (
	"fmt"
	"strconv"
	"time"
)

// Duration is a duration as flags and JSON write it: text such as 1m30s.
type Duration time.Duration

func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *Duration) UnmarshalText(text []byte) error {
	if _, err := strconv.ParseFloat(string(text), 64); err == nil && string(text) != "0" {
		return fmt.Errorf("%q has no unit: write %sms or %[2]ss", text, text)
	}
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 60ms or 1m30s", text)
	}
	*d = Duration(parsed)
	return nil
}

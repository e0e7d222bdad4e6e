package b24sim

import (
	"strings"
	"testing"
	"time"
)

// A duration is read with its unit; an error says what to write instead.
func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "60ms": 60 * time.Millisecond, "1m30s": 90 * time.Second, "-1s": -time.Second} {
		t.Run(text+" is a duration", func(t *testing.T) {
			var got Duration
			if err := got.UnmarshalText([]byte(text)); err != nil || time.Duration(got) != want {
				t.Errorf("got %v and the error %v, want %v", time.Duration(got), err, want)
			}
		})
	}
	for text, want := range map[string]string{"5": "write 5ms or 5s", "1.5": "write 1.5ms or 1.5s", "soon": "such as 60ms", "": "such as 60ms"} {
		t.Run(text+" is not a duration", func(t *testing.T) {
			var got Duration
			if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got the error %v, want %q in it", err, want)
			}
		})
	}
}

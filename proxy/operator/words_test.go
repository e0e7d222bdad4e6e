package operator

import (
	"testing"
	"time"
)

// Spans are rounded to what people compare.
func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 340 * time.Millisecond: "0.3 s", time.Second: "1 s", 58*time.Second + 400*time.Millisecond: "58 s",
		119 * time.Second: "119 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

// Numbers have at most one digit after the point, and commas between thousands.
func TestDecimal(t *testing.T) {
	for number, want := range map[any]string{0: "0", 7: "7", int32(999): "999", int64(1000): "1,000", 1234567: "1,234,567", 48.64: "48.6", 1234.56: "1,234.6", 3.0: "3"} {
		if got := decimal(number); got != want {
			t.Errorf("%v: got %s, want %s", number, got, want)
		}
	}
}

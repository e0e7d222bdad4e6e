package limiter

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A line never lies on two pages, so that no kill cuts it.
func TestLineWithinPage(t *testing.T) {
	if os.Getpagesize()%lineWidth != 0 || len(header()) != lineWidth {
		t.Errorf("lines of %d bytes, pages of %d", lineWidth, os.Getpagesize())
	}
}

// Every record reads as it was written, in a line of the one width.
func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		upstream := rapid.StringMatching(`[!-~]{1,260}`).Draw(t, "upstream")
		at := time.UnixMicro(rapid.Int64Range(0, 253402300799_999999).Draw(t, "microseconds"))
		line, err := encodeLine(upstream, at)
		if err != nil || len(line) != lineWidth {
			t.Fatalf("%d bytes, %v", len(line), err)
		}
		if u, a, err := decodeLine(line); u != upstream || !a.Equal(at) || err != nil {
			t.Errorf("%q, %v, %v; want %q, %v", u, a, err, upstream, at)
		}
	})
}

// Bytes that are no record are an error, never a panic.
func FuzzDecodeLine(f *testing.F) {
	line, _ := encodeLine("acme.example", later)
	f.Add(line)
	f.Add(line[:30])
	f.Add([]byte{})
	f.Add(header())
	f.Fuzz(func(t *testing.T, line []byte) {
		if upstream, at, err := decodeLine(line); err == nil {
			if again, err := encodeLine(upstream, at); err != nil || string(again) != string(line) {
				t.Errorf("%q was taken", line)
			}
		}
	})
}

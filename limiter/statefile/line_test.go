package statefile

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
		e := saved{fullAt: at}
		if rapid.Bool().Draw(t, "version 2") {
			e.at, e.rate = time.UnixMicro(rapid.Int64Range(0, 253402300799_999999).Draw(t, "written")), rapid.Float64Range(0.001, 100_000).Draw(t, "rate")
		}
		line, err := encodeLine(upstream, e)
		if err != nil || len(line) != lineWidth {
			t.Fatalf("%d bytes, %v", len(line), err)
		}
		if u, got, err := decodeLine(line); u != upstream || !got.fullAt.Equal(at) || !got.at.Equal(e.at) || got.rate != e.rate || err != nil {
			t.Errorf("%q, %v, %v; want %q, %v", u, got, err, upstream, e)
		}
	})
}

// Bytes that are no record are an error, never a panic.
func FuzzDecodeLine(f *testing.F) {
	line, _ := encodeLine("acme.example", saved{later, later, 2})
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

// A line with a rate that no plan has is an error, whatever its checksum.
func TestLineWithoutARate(t *testing.T) {
	for _, rate := range []string{"0", "-1", "NaN", "two"} {
		at := later.UTC().Format(lineTime)
		if _, e, err := decodeLine(seal(at + " acme.example " + at + " " + rate)); err == nil {
			t.Errorf("%s was taken: %v", rate, e)
		}
	}
}

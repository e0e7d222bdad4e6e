package statefile

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// No line is on two pages of memory, so that a kill cannot cut it.
func TestLineIsOnOnePage(t *testing.T) {
	if os.Getpagesize()%lineWidth != 0 || len(header(newKey())) != lineWidth {
		t.Errorf("got lines of %d bytes and pages of %d, want a page to hold whole lines", len(header(newKey())), os.Getpagesize())
	}
}

// Every line is of the same width and reads as it was written.
func TestLineReadsAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		upstream := rapid.StringMatching(`[!-~]{1,260}`).Draw(t, "upstream")
		at := time.UnixMicro(rapid.Int64Range(0, 253402300799_999999).Draw(t, "microseconds"))
		e := saved{fullAt: at}
		if rapid.Bool().Draw(t, "version 2") {
			e.at, e.rate = time.UnixMicro(rapid.Int64Range(0, 253402300799_999999).Draw(t, "written")), rapid.Float64Range(0.001, 100_000).Draw(t, "rate")
		}
		line, err := encodeLine(upstream, e)
		if err != nil || len(line) != lineWidth {
			t.Fatalf("got %d bytes and %v, want %d", len(line), err, lineWidth)
		}
		if u, got, err := decodeLine(line); u != upstream || !got.fullAt.Equal(at) || !got.at.Equal(e.at) || got.rate != e.rate || err != nil {
			t.Errorf("got %q, %v, %v; want %q, %v", u, got, err, upstream, e)
		}
	})
}

// Bytes that are not a line are an error, never a panic.
func FuzzDecodeLine(f *testing.F) {
	line, _ := encodeLine("acme.example", saved{later, later, 2})
	f.Add(line)
	f.Add(line[:30])
	f.Add([]byte{})
	f.Add(header(newKey()))
	f.Fuzz(func(t *testing.T, line []byte) {
		if upstream, at, err := decodeLine(line); err == nil {
			if again, err := encodeLine(upstream, at); err != nil || string(again) != string(line) {
				t.Errorf("%q was read, want an error", line)
			}
		}
	})
}

// A line with a rate that no plan has is an error, though its checksum is right.
func TestLineWithAnImpossibleRate(t *testing.T) {
	for _, rate := range []string{"0", "-1", "NaN", "two"} {
		at := later.UTC().Format(lineTime)
		if _, e, err := decodeLine(seal(at + " acme.example " + at + " " + rate)); err == nil {
			t.Errorf("a rate of %s was read as %v, want an error", rate, e)
		}
	}
}

package limiter

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// A line of a state file is, each separated by a space: an instant in UTC, the
// upstream, spaces up to the width, and the CRC-32 (IEEE) of all before it, in
// hexadecimal; then a line feed.
const (
	lineWidth   = 512 // bytes; divides the size of a page
	lineTime    = "2006-01-02T15:04:05.000000Z"
	lineSum     = lineWidth - len(" 01234567\n") // where the checksum's space stands
	maxUpstream = 260                            // the longest host name with a port
)

const headerText = "b24proxy state, version 1: when each portal's bucket will be full again"

// lineOffset is where a line starts; the header is before the first.
func lineOffset(line int) int64 { return int64(line+1) * lineWidth }

// header is the first line of the file.
func header() []byte { return seal(headerText) }

// seal pads a text to a line and signs it with its checksum.
func seal(text string) []byte {
	line := fmt.Appendf(make([]byte, 0, lineWidth), "%-*s", lineSum, text)
	return fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
}

// encodeLine writes a record. It fails if that could not be read again.
func encodeLine(upstream string, fullAt time.Time) ([]byte, error) {
	printable := func(r rune) bool { return r > ' ' && r <= '~' }
	if n := len(upstream); n == 0 || n > maxUpstream || strings.TrimFunc(upstream, printable) != "" {
		return nil, fmt.Errorf("%.40q cannot name an upstream in a state file", upstream)
	}
	at := fullAt.UTC().Format(lineTime)
	if len(at) != len(lineTime) {
		return nil, fmt.Errorf("the state of %s cannot be written: %v", upstream, fullAt)
	}
	return seal(at + " " + upstream), nil
}

// decodeLine reads a record and fails unless every byte is as encodeLine wrote
// it.
func decodeLine(line []byte) (upstream string, fullAt time.Time, err error) {
	text, _, _ := bytes.Cut(line[:min(lineSum, len(line))], []byte("  "))
	at, upstream, _ := strings.Cut(string(text), " ")
	if fullAt, err = time.Parse(lineTime, at); err != nil {
		return "", time.Time{}, err
	}
	again, err := encodeLine(upstream, fullAt)
	if err == nil && !bytes.Equal(line, again) {
		err = fmt.Errorf("the checksum is wrong")
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return upstream, fullAt, nil
}

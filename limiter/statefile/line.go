package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"b24proxy/limiter"
)

// A line of a state file has, separated by spaces: when the bucket will be full
// again, the upstream, when that was written, the plan's calls per second, spaces
// up to the width, and the CRC-32 (IEEE) of all that in hexadecimal; then a line
// feed. Instants are in UTC. In version 1 the upstream is the last field.
const (
	lineWidth   = 512 // bytes; divides the size of a page
	lineTime    = "2006-01-02T15:04:05.000000Z"
	lineSum     = lineWidth - len(" 01234567\n") // where the space before the checksum is
	maxUpstream = 260                            // the longest host name with a port
)

// saved is what a line says of an upstream's bucket.
type saved struct {
	fullAt time.Time // when the bucket is full again, at the plan's rate
	at     time.Time // when that was written; zero in version 1
	rate   float64   // of the plan
}

// under is when the bucket is full again on the plan that is set now. Where the
// line was written on another one, nobody knows which of them the upstream used
// meanwhile. So its counter is taken to have fallen by the lower rate, and a line
// of version 1 shows only that the bucket was not full yet.
func (e saved) under(now time.Time, p limiter.Plan) time.Time {
	p = p.Capped()
	if p.Unlimited() || p.Rate == e.rate {
		return e.fullAt
	}
	most := float64(p.Burst) + 1
	level, since, rate := most, e.fullAt, p.Rate
	if e.rate > 0 {
		level, since, rate = e.fullAt.Sub(e.at).Seconds()*e.rate, e.at, min(p.Rate, e.rate)
	}
	level -= max(0, now.Sub(since).Seconds()) * rate
	left := min(max(0, level), most) / p.Rate
	return now.Add(time.Duration(left * float64(time.Second)))
}

// lineOffset is where a line starts. The header is before the first line.
func lineOffset(line int) int64 { return int64(line+1) * lineWidth }

// seal pads a text to a line and adds its checksum.
func seal(text string) []byte {
	line := fmt.Appendf(make([]byte, 0, lineWidth), "%-*s", lineSum, text)
	return fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
}

// encodeLine writes a line. It fails if the line could not be read again.
func encodeLine(upstream string, e saved) ([]byte, error) {
	printable := func(r rune) bool { return r > ' ' && r <= '~' }
	if n := len(upstream); n == 0 || n > maxUpstream || strings.TrimFunc(upstream, printable) != "" {
		return nil, fmt.Errorf("%.40q cannot name an upstream in a state file", upstream)
	}
	fullAt, at := e.fullAt.UTC().Format(lineTime), e.at.UTC().Format(lineTime)
	if len(fullAt) != len(lineTime) || len(at) != len(lineTime) {
		return nil, fmt.Errorf("the state of %s cannot be written: %v", upstream, e.fullAt)
	}
	text := fullAt + " " + upstream
	if e.rate > 0 {
		text += " " + at + " " + strconv.FormatFloat(e.rate, 'g', -1, 64)
	}
	return seal(text), nil
}

// decodeLine reads a line. It fails unless every byte is as encodeLine writes it.
func decodeLine(line []byte) (upstream string, e saved, err error) {
	fields := strings.Fields(string(line[:min(lineSum, len(line))]))
	switch len(fields) {
	case 4:
		if e.rate, err = strconv.ParseFloat(fields[3], 64); err != nil {
			return "", saved{}, err
		}
		if e.at, err = time.Parse(lineTime, fields[2]); err != nil {
			return "", saved{}, err
		}
	case 2:
	default:
		return "", saved{}, fmt.Errorf("%d fields", len(fields))
	}
	if e.fullAt, err = time.Parse(lineTime, fields[0]); err != nil {
		return "", saved{}, err
	}
	again, err := encodeLine(fields[1], e)
	if err == nil && !bytes.Equal(line, again) {
		err = errors.New("the checksum is wrong, or the rate is not above 0")
	}
	if err != nil {
		return "", saved{}, err
	}
	return fields[1], e, nil
}

package operator

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// span is a length of time for people.
func span(d time.Duration) string {
	switch s := int(math.Round(d.Seconds())); {
	case d < 50*time.Millisecond:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 2*60*60:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case s < 2*24*60*60:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f d", d.Hours()/24)
	}
}

// count is a number with its noun.
func count[N ~int | ~int32 | ~int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func tenths(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// decimal is a number for people: with at most one digit after the point, and
// commas between thousands.
func decimal(number any) string {
	text := strings.TrimSuffix(tenths(toFloat(number)), ".0")
	whole, part, isBroken := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if isBroken {
		return whole + "." + part
	}
	return whole
}

func toFloat(number any) float64 {
	switch n := number.(type) {
	case float64:
		return n
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	}
	panic(fmt.Sprintf("decimal of %T", number))
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }

// ago is how long before now an instant was.
func ago(now, t time.Time) string { return span(now.Sub(t)) + " ago" }

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// parts are where a code or a method may break into lines.
func parts(word string) []string {
	var all []string
	for rest := word; rest != ""; {
		end := strings.IndexAny(rest, "._") + 1
		if end == 0 {
			end = len(rest)
		}
		all, rest = append(all, rest[:end]), rest[end:]
	}
	return all
}

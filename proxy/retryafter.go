package proxy

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// setRetryAfter says in an answer when to repeat the call.
func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(seconds(d)))
}

// agree makes Retry-After say what retryable says: that to repeat the call may help, or
// that it does not.
func agree(h http.Header, retryable bool) {
	switch {
	case !retryable:
		h.Del("Retry-After")
	case h.Get("Retry-After") == "":
		setRetryAfter(h, jitter(shortDelay))
	}
}

// seconds returns a time to wait as Retry-After has it.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// soon bounds a Retry-After to 1 to 60 seconds. It need not be spread, since the
// limiter returns a different time for each caller that it rejects.
func soon(d time.Duration) time.Duration { return min(max(d, time.Second), time.Minute) }

// jitter adds up to a fifth, so that callers who get the same time do not all come
// back at once.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/5)
}

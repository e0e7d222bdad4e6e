package proxy

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
)

// An exchange is one call of a client and all that becomes of it. It belongs
// to the client's goroutine.
type exchange struct {
	id       string // X-Request-Id
	route    route
	client   string // whose share of the slots it takes
	cred     bitrix24.Credential
	budget   limiter.BudgetKey // that the last attempt spent
	urgency  int
	deadline time.Time // of waiting for slots
	body     *body
	began    time.Time
	control  *http.ResponseController

	repeatable bool // running twice is the same as running once

	queued   time.Duration   // spent waiting for slots
	foretold time.Duration   // that an observing proxy would have waited
	portal   time.Duration   // spent waiting for the portal's answers
	attempts int             // sent to the portal
	moves    int             // to another address of a renamed portal
	answer   bitrix24.Answer // the last one's meaning
	failed   *failure        // what the proxy answers in the portal's stead
	status   int             // what the client got
	finished bool            // the client got all of it

	mayHaveRun bool // an attempt before the last was lost
	rejected   bool // the portal refused it, and its patience was at an end

	would *failure // what an observing proxy would have answered
}

// watch notes what an observing proxy would have done with a call.
func (ex *exchange) watch(slot *limiter.Slot, hold time.Duration, operating *limiter.Rejection) {
	ex.foretold += slot.Foretold + hold
	switch {
	case slot.Would != nil:
		ex.would = rejection(slot.Would)
	case operating != nil:
		ex.would = rejection(operating)
	}
}

// executed tells whether the call ran, all attempts considered.
func (ex *exchange) executed(last bitrix24.Ran) bitrix24.Ran {
	if last == bitrix24.No && ex.mayHaveRun {
		return bitrix24.Unknown
	}
	return last
}

// isRepeatable tells whether a call may be sent again though it may have run: a
// read, or a write that version 3 answers from its store of idempotency keys,
// 1 to 255 printable characters (documented). Version 2 ignores the key.
func isRepeatable(c bitrix24.Call, h http.Header) bool {
	if c.Read() {
		return true
	}
	key := h.Get("Idempotency-Key")
	return c.Version == 3 && !c.Batch() && key != "" && len(key) <= 255 && strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

type exchangeKey struct{}

func (ex *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// requestID takes the caller's X-Request-Id where it is fit for a log, else
// makes one.
func requestID(h http.Header) string {
	id := h.Get("X-Request-Id")
	if !isWord(id, 128) {
		return rand.Text()
	}
	return id
}

// clientName is whose share of the slots a call takes: the one in B24-Client,
// at most 64 printable characters, else the credential's.
func clientName(h http.Header, c bitrix24.Credential) string {
	if name := h.Get("B24-Client"); isWord(strings.ReplaceAll(name, " ", "_"), 64) {
		return name
	}
	return c.Kind + " " + c.ID
}

// isWord tells whether s is printable ASCII without spaces.
func isWord(s string, longest int) bool {
	return s != "" && len(s) <= longest && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// urgency reads u of a Priority header (RFC 9218), 3 where there is none.
func urgency(h http.Header) int {
	for field := range fields(h, "Priority") {
		if name, value, _ := strings.Cut(field, "="); strings.TrimSpace(name) == "u" {
			if u, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && u >= 0 && u <= 7 {
				return u
			}
		}
	}
	return 3
}

// patience reads wait of a Prefer header (RFC 7240), in seconds; it can only
// shorten the longest wait.
func patience(h http.Header, longest time.Duration) time.Duration {
	for field := range fields(h, "Prefer") {
		name, value, _ := strings.Cut(field, "=")
		value, _, _ = strings.Cut(value, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		if n, err := strconv.Atoi(strings.Trim(value, " \"")); err == nil && n >= 0 && n < int(longest/time.Second) {
			return time.Duration(n) * time.Second
		}
	}
	return longest
}

// fields yields the comma-separated parts of all headers of a name.
func fields(h http.Header, name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range h.Values(name) {
			for part := range strings.SplitSeq(line, ",") {
				if !yield(strings.TrimSpace(part)) {
					return
				}
			}
		}
	}
}

// stripOwnHeaders removes what a client tells the proxy and nobody else. Expect
// is settled: the body is here.
func stripOwnHeaders(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") {
			h.Del(name)
		}
	}
	for _, name := range []string{"B24-Portal", "B24-Client", "Priority", "Connection", "Upgrade", "Expect"} {
		h.Del(name)
	}
	kept := h["Prefer"][:0:0]
	for field := range fields(h, "Prefer") {
		if name, _, _ := strings.Cut(field, "="); !strings.EqualFold(strings.TrimSpace(name), "wait") {
			kept = append(kept, field)
		}
	}
	h.Del("Prefer")
	if len(kept) > 0 {
		h["Prefer"] = kept
	}
}

package proxy

import (
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
)

// A documented error is a row of README's table, once for each of its reasons.
type documented struct {
	sent, todo string
}

// readmeErrors reads the table of errors in README.md. Rows that stand for codes
// of the portal's own choice are left out.
func readmeErrors(t *testing.T) map[string]documented {
	t.Helper()
	_, section, _ := strings.Cut(string(must(os.ReadFile("../README.md"))), "\n## What comes back\n")
	rows := make(map[string]documented)
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if strings.HasPrefix(line, "#") {
			break
		}
		if len(cells) != 6 || !regexp.MustCompile(`^\d{3}(, \d{3})*$`).MatchString(cells[1]) {
			continue
		}
		for status := range strings.SplitSeq(cells[1], ", ") {
			for reason := range strings.SplitSeq(cells[3], ", ") {
				rows[status+" "+strings.Trim(cells[2], "`")+" "+strings.Trim(reason, "`")] = documented{cells[4], cells[5]}
			}
		}
	}
	return rows
}

// portalErrors are the rows of README's table that the portal makes.
func portalErrors() map[string]bool {
	limit, unexpected := bitrix24.Lookup(bitrix24.CodeQueryLimitExceeded), bitrix24.Lookup(bitrix24.CodeUnexpectedAnswer)
	rows := map[string]bool{fmt.Sprint(limit.Status, " ", limit.Code, " ", limit.Category): true}
	for _, reason := range []bitrix24.Reason{bitrix24.ReasonHTML, bitrix24.ReasonEmpty, bitrix24.ReasonTruncated, bitrix24.ReasonNotJSON} {
		rows[fmt.Sprint(unexpected.Status, " ", unexpected.Code, " ", reason)] = true
	}
	return rows
}

func TestErrorsMadeHereAreThoseOfTheREADME(t *testing.T) {
	inREADME := readmeErrors(t)
	made := portalErrors()
	for _, row := range errorTable {
		if row.status == 0 {
			continue // in the log alone
		}
		key := fmt.Sprint(row.status, " ", row.code, " ", row.reason)
		made[key] = true
		documented, found := inREADME[key]
		switch {
		case !found:
			t.Errorf("README does not have %s", key)
		case documented.sent == "no" && row.executed != bitrix24.RanNo:
			t.Errorf("%s: README says that it was not sent, executed is %v", key, row.executed)
		case strings.Contains(documented.todo, "Retry-After") != row.retryable:
			t.Errorf("%s: README says %q, retryable is %v", key, documented.todo, row.retryable)
		case strings.Contains(documented.todo, "may have run") != (row.executed == bitrix24.RanUnknown) && row.reason != bitrix24.ReasonRedirect && documented.sent != "perhaps":
			t.Errorf("%s: README says %q, executed is %v", key, documented.todo, row.executed)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(inREADME)) {
		if !made[key] {
			t.Errorf("README has %s, which nobody makes", key)
		}
	}
}

// The rules that CONTRACT.md has for errors hold for each row of the table.
func TestErrorTableKeepsTheContract(t *testing.T) {
	for id, row := range errorTable {
		t.Run(fmt.Sprintf("%d %s %s", id, row.code, row.reason), func(t *testing.T) {
			if row.status == 0 {
				if row.text != "" || row.retryable {
					t.Errorf("got %+v, want no answer for a row that stands in the log alone", row)
				}
				return
			}
			if row.code == "" || row.reason == "" || row.source == "" || row.outcome == "" || row.text == "" {
				t.Errorf("got %+v, want every column filled", row)
			}
			if row.status < 400 || row.status == 502 || row.status == 504 {
				t.Errorf("got status %d, want an error that no client repeats blindly", row.status)
			}
			if row.retryable != (row.retryAfter > 0) {
				t.Errorf("retryable is %v with Retry-After %v, want them to agree", row.retryable, row.retryAfter)
			}
			if known := bitrix24.Lookup(row.code); known != nil && known.Status != row.status {
				t.Errorf("got status %d, want %d, which Bitrix24 documents for the code", row.status, known.Status)
			}
			isQuiet := row.status == 500 || row.status == 409 // no client library repeats a 409
			if mayHaveRun := row.executed != bitrix24.RanNo; mayHaveRun != strings.Contains(row.text, "may have run") || mayHaveRun && !isQuiet {
				t.Errorf("executed is %v at status %d with the text %q, want 500 or 409 and a word of it for a call that may have run", row.executed, row.status, row.text)
			}
		})
	}
}

func TestRejectionsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		rejection   limiter.Rejection
		status      int
		retryAfter  time.Duration
		description string
	}{
		"a wait that would be too long, and by how much": {
			limiter.Rejection{Reason: limiter.QueueWait, RetryAfter: 6 * time.Second, EstimatedWait: 30500 * time.Millisecond, LongestWait: 25 * time.Second},
			503, 6 * time.Second, "Too many requests: the call would wait 31 s for a slot; 25 s are allowed (B24PROXY_QUEUE_WAIT or Prefer)",
		},
		"a wait that was too long": {
			limiter.Rejection{Reason: limiter.QueueWait, RetryAfter: 2 * time.Second, LongestWait: 25 * time.Second},
			503, 2 * time.Second, "Too many requests: the call got no slot within the 25 s that are allowed (B24PROXY_QUEUE_WAIT or Prefer)",
		},
		"a full queue, to be tried again within a minute": {
			limiter.Rejection{Reason: limiter.QueueFull, RetryAfter: time.Hour},
			503, time.Minute, "Too many requests: the proxy's queue for this portal is full (B24PROXY_QUEUE_DEPTH)",
		},
		"a restart": {
			limiter.Rejection{Reason: limiter.Draining},
			503, time.Second, "The proxy restarts; the call was not sent, repeat it",
		},
		"operating time, however late its reset": {
			limiter.Rejection{Reason: limiter.OperatingTime, RetryAfter: 5 * time.Minute},
			429, 5 * time.Minute, "Method is blocked due to operation time limit: it has used up its operating time, and the proxy does not send it within the next 300 s",
		},
		"an overloaded portal, without a time, as nobody knows one": {
			limiter.Rejection{Reason: limiter.Overload, RetryAfter: time.Minute},
			503, 0, "REST API is blocked due to overload. Bitrix24 lifts the block by hand; the proxy sends one call a minute to see whether it has",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := rejection(&c.rejection)
			if f.status != c.status || f.reason != bitrix24.Reason(c.rejection.Reason) || f.retryAfter != c.retryAfter || f.retryable != (c.retryAfter > 0) || f.description != c.description {
				t.Errorf("got %d %s, retryable %v after %v: %s\nwant %d after %v: %s",
					f.status, f.reason, f.retryable, f.retryAfter, f.description, c.status, c.retryAfter, c.description)
			}
		})
	}
}

func TestTheLogAloneSaysWhereAConnectionFailed(t *testing.T) {
	lost := networkFailure(t.Context(), &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: syscall.ECONNREFUSED}, false)
	if text := lost.logged(); !strings.HasSuffix(text, " (dial 192.0.2.1:443)") || strings.Contains(lost.description, "192.0.2.1") {
		t.Errorf("logged %q, described as %q", text, lost.description)
	}
	refused := rejection(&limiter.Rejection{Reason: limiter.QueueWait, RetryAfter: time.Second})
	if refused.logged() != refused.description {
		t.Errorf("logged %q, described as %q", refused.logged(), refused.description)
	}
}

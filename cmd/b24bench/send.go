package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"b24proxy/proxy/bitrix24"
)

// A target is where calls are sent.
type target struct {
	base   string // http://host:port
	portal string // for B24-Portal, if any
}

// A report says how the calls ended. Times are real, in seconds.
type report struct {
	Name          string         `json:"name"`
	OK            int            `json:"ok"`
	Refused       int            `json:"refused"` // answers QUERY_LIMIT_EXCEEDED
	Failed        int            `json:"failed"`  // all other errors
	PortalRefused int            `json:"portal_refused"`
	Seconds       float64        `json:"seconds"`
	ShareOfLeast  float64        `json:"share_of_least"`
	P50           float64        `json:"p50"`
	P99           float64        `json:"p99"`
	Errors        map[string]int `json:"errors,omitempty"`
}

func (r report) Time() time.Duration { return seconds(r.Seconds) }

// send makes all calls at once, or runs as many callers for the time of -for, and
// waits for their answers.
func send(ctx context.Context, name string, to target, o options, progress io.Writer) report {
	transport := &http.Transport{MaxIdleConnsPerHost: o.calls}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	r := report{Name: name, Errors: make(map[string]int)}
	var took []float64
	var done atomic.Int64
	var mu sync.Mutex
	var callers sync.WaitGroup
	began := time.Now()
	for i := range o.calls {
		callers.Go(func() {
			for n := i; ; n++ {
				asked := time.Now()
				code := call(ctx, client, to, o.request(n))
				mu.Lock()
				r.count(code)
				took = append(took, time.Since(asked).Seconds())
				mu.Unlock()
				done.Add(1)
				if time.Since(began) >= o.last || ctx.Err() != nil {
					return
				}
			}
		})
	}
	stop := showProgress(progress, name, &done, o.calls)
	callers.Wait()
	stop()
	r.Seconds = time.Since(began).Seconds()
	r.ShareOfLeast = o.real(o.least()).Seconds() / r.Seconds
	slices.Sort(took)
	r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	return r
}

// A request is one call.
type request struct{ path, body string }

// mixed are the calls of -mix: reads, writes, batches, and wrong ones. Each has a number,
// so that none looks like the repetition of another.
var mixed = []request{
	{"crm.deal.list", `{"call":%d}`},
	{"crm.deal.add", `{"fields":{"TITLE":"b24bench %d"}}`},
	{"user.current", `{"call":%d}`},
	{"crm.contact.list", `{"start":50,"call":%d}`},
	{"batch", `{"cmd":{"me":"user.current","deals":"crm.deal.list","wrong":"no.such.method"},"call":%d}`},
	{"crm.deal.get", `{"call":%d}`},
	{"no.such.method", `{"call":%d}`},
}

// request returns the n-th call.
func (o options) request(n int) request {
	if !o.mix {
		return request{o.path, fmt.Sprintf(`{"call":%d}`, n)}
	}
	r := mixed[n%len(mixed)]
	r.body = fmt.Sprintf(r.body, n)
	r.path = o.path[:strings.LastIndexByte(o.path, '/')+1] + r.path
	return r
}

func (r *report) count(code string) {
	switch code {
	case "":
		r.OK++
	case string(bitrix24.CodeQueryLimitExceeded):
		r.Refused++
	default:
		r.Failed++
		if len(r.Errors) < 20 {
			r.Errors[code]++
		}
	}
}

// call makes one call and returns its error code, "" for success.
func call(ctx context.Context, client *http.Client, to target, r request) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(to.base, "/")+r.path, strings.NewReader(r.body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	if to.portal != "" {
		req.Header.Set("B24-Portal", to.portal)
	}
	resp, err := client.Do(req)
	if err != nil {
		return failure(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  any
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Sprintf("HTTP %d without JSON", resp.StatusCode)
	}
	if answer.Error != nil && answer.Result == nil {
		return fmt.Sprint(answer.Error)
	}
	return ""
}

// failure says why a call has no answer.
func failure(err error) string {
	var connection *net.OpError
	if errors.As(err, &connection) && connection.Op == "dial" && connection.Addr != nil {
		return "cannot connect to " + connection.Addr.String()
	}
	return "no answer: the connection broke"
}

// showProgress shows the progress in one line of a terminal until stop is
// called.
func showProgress(w io.Writer, name string, done *atomic.Int64, of int) (stop func()) {
	if f, ok := w.(*os.File); !ok || !isTerminal(f) {
		return func() {}
	}
	ended := make(chan struct{})
	var line sync.WaitGroup
	line.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				fmt.Fprintf(w, "\r\033[K")
				return
			case <-tick.C:
				fmt.Fprintf(w, "\r\033[K%s: %d of %d answered", name, done.Load(), of)
			}
		}
	})
	return func() {
		close(ended)
		line.Wait()
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

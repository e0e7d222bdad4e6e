package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/b24sim"
)

// A randomRead is a call as a client may send it.
type randomRead struct{ verb, target, body, contentType string }

// reads makes random calls, with all that PHP, the portal's references and its filter of
// input read in their own way.
type reads struct {
	*rand.Rand
	isTame bool // the call has only what may travel
}

func (r reads) next() randomRead {
	r.isTame = r.IntN(3) > 0
	address := hook + "/" + r.pick("crm.deal.list", "crm.deal.get", "CRM.Contact.List", "user.get.json", "tasks.task.list", "crm.deal.fields")
	switch r.IntN(5) {
	case 0:
		return randomRead{"GET", address + "?" + r.form(), "", ""}
	case 1:
		return randomRead{"POST", address + "?bx24_request_id=" + fmt.Sprint(r.IntN(99)), r.form(), "application/x-www-form-urlencoded"}
	case 2:
		ids, _ := json.Marshal(map[string]any{"filter": map[string]any{"@ID": slices.Repeat([]int{r.IntN(9)}, r.IntN(1200)+1)}})
		return randomRead{"POST", address, string(ids), "application/json"}
	}
	body, _ := json.Marshal(r.object(0))
	return randomRead{"POST", address, string(body), "application/json; charset=utf-8"}
}

func (r reads) pick(from ...string) string { return from[r.IntN(len(from))] }

func (r reads) text() string {
	const plain = "abcXYZ019_-"
	tame := []string{"#", "&", "=", "+", "%", "?", " x", ";", ":80", "/", "'", `"`, "Ж", "日", "😀", "*", ">=", "!", "@", "0", "[", "]"}
	wild := []string{"$timezone[a]", "$result[c0][ID]", "US$total[0]", "$5", "<b>", "select a from b", "javascript:x", "/../", "(", `\`, "\n", "\u0000", "%41", " ", "."}
	if !r.isTame {
		tame = append(tame, wild...)
	}
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteByte(plain[r.IntN(len(plain))])
	}
	for range r.IntN(3) {
		b.WriteString(tame[r.IntN(len(tame))])
	}
	return b.String()
}

// key is a text for a key.
func (r reads) key() string {
	if r.isTame {
		return r.pick("filter", "select", "ID", ">=DATE", "%TITLE", "!STATUS", "a-b", "Ж")
	}
	return r.pick("filter", "select", "ID", "start", "0", r.text(), "")
}

func (r reads) form() string {
	var parts []string
	for range 1 + r.IntN(4) {
		name := r.pick("filter", "select", "order", "start", "ID", "FILTER")
		if !r.isTame {
			name = r.pick(name, "a.b", "x%20y", "12", "state")
		}
		for range r.IntN(3) {
			name += "[" + r.pick("", "ID", "0", ">=DATE", "a.b", url.QueryEscape(r.key())) + "]"
		}
		parts = append(parts, name+"="+r.pick(url.QueryEscape(r.text()), "1", "a+b", "x%20y"))
	}
	return strings.Join(parts, "&")
}

func (r reads) object(depth int) map[string]any {
	o := map[string]any{}
	for range 1 + r.IntN(3) {
		o[r.key()] = r.value(depth + 1)
	}
	return o
}

func (r reads) value(depth int) any {
	switch n := r.IntN(12); {
	case n == 0 && !r.isTame:
		return []any{nil, true, 1.5, "", map[string]any{}, []any{}}[r.IntN(6)]
	case n < 3:
		return r.IntN(1000) - 500
	case n < 5 && depth < 5:
		return r.object(depth)
	case n < 7 && depth < 5:
		return []any{r.value(depth + 1), r.value(depth + 1)}
	}
	return r.text()
}

// shape is the names of an answer's members and those of its time, in their order.
func shape(w *httptest.ResponseRecorder) string {
	var fields map[string]json.RawMessage
	var spent map[string]json.RawMessage
	json.Unmarshal(w.Body.Bytes(), &fields)
	json.Unmarshal(fields["time"], &spent)
	return fmt.Sprint(w.Code, w.Header().Get("Content-Type"), slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(spent)))
}

// Thousands of random reads that wait get the same answers as alone, but for the times,
// whatever goes wrong at the portal, and although some callers leave.
func TestJoinedReadsAreTheSameAsAlone(t *testing.T) {
	for name, faults := range map[string][]string{
		"calm": nil,
		"with faults": {
			"batch:html:0.1", "batch:reset-after:0.1", "batch:QUERY_LIMIT_EXCEEDED:0.1", "batch:truncated:0.1", "batch:INTERNAL_SERVER_ERROR:0.05", "batch:WRONG_ENCODING:0.05", "batch:gzip:0.2", "batch:bom:0.05",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := b24sim.Config{Rate: 2, Burst: 50, RefusedCount: true, Seed: 7, Echo: true, Filter: true}
				free := b24sim.New(b24sim.Config{Seed: 7, Echo: true, Filter: true})
				for _, f := range faults {
					config.Faults = append(config.Faults, must(b24sim.ParseFault(f)))
				}
				quiet := slog.New(slog.DiscardHandler)
				p := joiningProxy(t, func(c *Config) { c.Plan, c.Log = limiter.Standard, quiet }).behind(b24sim.New(config))
				alone := newProxy(t, func(c *Config) { c.Plan, c.Log = limiter.Unlimited, quiet }).behind(free)
				random := reads{Rand: rand.New(rand.NewPCG(1, 2))}
				var calls sync.WaitGroup
				for range 1500 {
					r := random.next()
					ctx, leave := context.WithCancel(t.Context())
					if random.IntN(20) == 0 {
						time.AfterFunc(time.Duration(random.IntN(60_000))*time.Millisecond, leave)
					}
					calls.Go(func() {
						defer leave()
						got := p.callContext(ctx, r.verb, r.target, r.body, "Content-Type", r.contentType)
						if ctx.Err() != nil {
							return
						}
						want := alone.call(r.verb, r.target, r.body, "Content-Type", r.contentType)
						if resultOf(got) != resultOf(want) || shape(got) != shape(want) {
							t.Errorf("%s %s %.200s: got %s %.300s, want %s %.300s", r.verb, r.target, r.body, shape(got), got.Body, shape(want), want.Body)
						}
					})
				}
				calls.Wait()
				joined := p.metric(`b24proxy_autobatch_calls_total{portal="acme.bitrix24.com"}`)
				if joined < 350 {
					t.Errorf("got %v reads joined, want at least 350 of 1,500", joined)
				}
				t.Logf("%v of 1,500 reads were sent in batches", joined)
			})
		})
	}
}

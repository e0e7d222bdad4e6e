package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/operator"
)

// A tape is a journal that keeps the names of the events that it records.
type tape struct {
	mu    sync.Mutex
	names []string
}

func (t *tape) Record(e operator.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = append(t.names, strings.TrimPrefix(fmt.Sprintf("%T", e), "operator."))
}

// What happens to a call is recorded once, in the order in which it happens.
func TestJournal(t *testing.T) {
	for name, c := range map[string]struct {
		fault, target string
		patience      time.Duration
		want          []string
	}{
		"a call that goes well":       {"", deal, time.Hour, []string{"AttemptBegan", "PortalReached", "AttemptEnded", "CallEnded"}},
		"a call for a wrong host":     {"", "/evil.example.com/rest/1/x/profile", time.Hour, []string{"ErrorSeen", "CallEnded"}},
		"a write that is refused":     {"*:QUERY_LIMIT_EXCEEDED:first=1", deal, time.Hour, []string{"AttemptBegan", "ErrorSeen", "PortalReached", "AttemptEnded", "CallSentAgain", "AttemptBegan", "PortalReached", "AttemptEnded", "CallEnded"}},
		"a write whose answer breaks": {"*:reset-after", deal, time.Hour, []string{"AttemptBegan", "PortalReached", "AttemptEnded", "ErrorSeen", "CallEnded"}},
		"a caller who leaves":         {"*:slow=10s", deal, time.Second, []string{"AttemptBegan", "CallEnded", "PortalReached", "AttemptEnded"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got tape
				p := newProxy(t, nil).behind(simulate(t, strings.Fields(c.fault)...))
				p.recordTo(&got)
				ctx, leave := context.WithTimeout(t.Context(), c.patience)
				defer leave()
				p.callContext(ctx, "POST", c.target, "{}")
				time.Sleep(time.Hour) // the portal goes on alone
				synctest.Wait()
				if !slices.Equal(got.names, c.want) {
					t.Errorf("got  %v\nwant %v", got.names, c.want)
				}
			})
		})
	}
}

// What happens to every call is recorded without memory of its own.
func TestRecordTakesNoMemory(t *testing.T) {
	var j journal = operator.New(operator.Config{MetricsPortals: 1, Log: slog.New(slog.DiscardHandler)})
	c := operator.Call{RequestID: "r-1", Portal: "acme.bitrix24.com", Client: "webhook 507da47e72b7", HTTPMethod: http.MethodPost}
	took := testing.AllocsPerRun(100, func() {
		record(j, operator.AttemptBegan{Call: c})
		recordReached(j, c, nil)
	})
	if took > 0 {
		t.Errorf("got %v allocations, want none", took)
	}
}

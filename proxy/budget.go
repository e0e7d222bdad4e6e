package proxy

import (
	"context"
	"net/http"
	"sync"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// keptBudgets and keptTokens bound what is remembered of methods and tokens;
// the least recently used go.
const (
	keptBudgets = 20_000
	keptTokens  = 20_000
)

// budgetKey names the budget that a call spends, as the portal keeps it: by
// application or webhook, and method (read in the server's source).
func (t *transport) budgetKey(ex *exchange) limiter.BudgetKey {
	return limiter.BudgetKey{Upstream: ex.route.portal, Credential: t.applications.of(ex.cred), Method: ex.route.call.Method}
}

// open waits until the budget of a call is open, within the caller's patience.
func (t *transport) open(ctx context.Context, ex *exchange, k limiter.BudgetKey) error {
	for t.guard {
		due := t.budgets.Due(time.Now(), k)
		switch {
		case due == 0:
			return nil
		case due > time.Until(ex.deadline):
			return &limiter.Rejection{Reason: limiter.OperatingTime, RetryAfter: due}
		case !t.holders.enter(k.Upstream):
			return &limiter.Rejection{Reason: limiter.QueueFull, RetryAfter: due}
		}
		err := t.hold(ctx, due)
		t.holders.leave(k.Upstream)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *transport) hold(ctx context.Context, due time.Duration) error {
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.stopping:
		return &limiter.Rejection{Reason: limiter.Draining, RetryAfter: time.Second}
	}
}

// holders counts those who wait for operating time, by portal: as many may as
// may wait for slots.
type holders struct {
	most int

	mu sync.Mutex
	n  map[string]int
}

func newHolders(most int) *holders { return &holders{most: most, n: make(map[string]int)} }

func (h *holders) enter(portal string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[portal] >= h.most {
		return false
	}
	h.n[portal]++
	return true
}

func (h *holders) leave(portal string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n[portal]--; h.n[portal] == 0 {
		delete(h.n, portal)
	}
}

// A lesson is what an attempt's answer is booked on.
type lesson struct {
	id          string // of the request
	route       route
	key         limiter.BudgetKey
	pass        *limiter.BudgetPass // nil where no budget is spent, or where it was seen to be another
	cred        bitrix24.Credential
	contentType string
	body        []byte // of the request, as far as it is in memory
	began       time.Time
	took        time.Duration // to the answer's header
}

// lost books an attempt that had no answer.
func (l *lesson) lost() {
	if l.pass != nil {
		l.pass.Done(time.Now(), limiter.BudgetAnswer{Took: time.Since(l.began)})
	}
}

// learn takes note of what an answer tells, whether or not somebody waits for
// it.
func (t *transport) learn(l *lesson, h http.Header, a bitrix24.Answer) {
	portal := l.route.portal
	if isError(a.Kind) {
		t.metrics.Error(portal, bitrix24.Label(codeOf(a)), metrics.FromPortal)
		t.recent.errored(time.Now(), portal, string(codeOf(a)), metrics.FromPortal, l.route.call.Method, l.id)
	}
	for _, inner := range a.Inner {
		t.metrics.Error(portal, bitrix24.Label(inner.Code), metrics.FromBatch)
		t.recent.errored(time.Now(), portal, string(inner.Code), metrics.FromBatch, l.route.call.Method, l.id)
	}
	if !l.route.call.REST() {
		return
	}
	t.applications.learn(l.cred, h.Get("X-Bitrix-Rest-Application"))
	now := time.Now()
	answer := limiter.BudgetAnswer{
		Ran:     a.Executed() == bitrix24.RanYes,
		Blocked: isOperatingLimit(a.Code),
		Usage:   usage(now, a.Time),
		Took:    l.took,
	}
	if credential := t.applications.of(l.cred); credential != l.key.Credential { // just joined
		l.lost()
		l.pass, l.key.Credential = nil, credential
	}
	switch {
	case l.pass != nil:
		l.pass.Done(now, answer)
	case answer.Blocked:
		t.budgets.Blocked(now, l.key)
	default:
		t.budgets.Learn(now, l.key, answer.Usage)
	}
	t.learnInner(l, now, a)
}

// learnInner books the commands of a batch on their own methods.
func (t *transport) learnInner(l *lesson, now time.Time, a bitrix24.Answer) {
	if len(a.Inner) == 0 && len(a.InnerTimes) == 0 {
		return
	}
	methods := bitrix24.Commands(l.route.rawQuery(), l.contentType, l.body)
	k := l.key
	for command, told := range a.InnerTimes {
		if k.Method = methods[command]; k.Method != "" {
			t.budgets.Learn(now, k, usage(now, told))
		}
	}
	for _, inner := range a.Inner {
		if k.Method = methods[inner.Key]; k.Method != "" && isOperatingLimit(inner.Code) {
			t.budgets.Blocked(now, k)
		}
	}
}

func isOperatingLimit(code bitrix24.Code) bool {
	known := bitrix24.Lookup(code)
	return known != nil && known.Category == bitrix24.CategoryOperatingTime
}

func usage(now time.Time, told bitrix24.Time) limiter.Usage {
	return limiter.Usage{
		Told:    told.HasOperating,
		Used:    time.Duration(told.Operating * float64(time.Second)),
		ResetAt: now.Add(told.UntilReset(now)),
	}
}

// applications join OAuth tokens, which change every hour, to the application
// behind them, which the cloud's answers name.
type applications struct {
	mu    sync.Mutex
	names *limiter.LRU[string, string]
}

func newApplications() *applications {
	return &applications{names: limiter.NewLRU[string, string](keptTokens)}
}

// of is the name under which a credential's budgets are kept.
func (a *applications) of(c bitrix24.Credential) string {
	if c.Kind == "oauth" {
		a.mu.Lock()
		defer a.mu.Unlock()
		if name, known := a.names.Get(c.ID); known {
			return "application " + name
		}
	}
	return c.Kind + " " + c.ID
}

func (a *applications) learn(c bitrix24.Credential, application string) {
	if c.Kind != "oauth" || application == "" || len(application) > 128 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names.Put(c.ID, application)
}

package proxy

import (
	"cmp"
	"net/http"
	"time"

	"b24proxy/limiter/operating"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/operator"
)

// feedback is what must be known of an attempt to learn from its answer.
type feedback struct {
	call        operator.Call
	route       route
	key         operating.Key
	pass        *operating.Pass // nil where no budget is spent, or where the answer showed that it is another one
	cred        bitrix24.Credential
	contentType string
	body        []byte // of the request, as far as it is in memory
	joined      bool   // the call is a batch that the proxy made
	began       time.Time
	took        time.Duration // to the answer's header
}

// lost reports an attempt that had no answer.
func (fb *feedback) lost() {
	if fb.pass != nil {
		fb.pass.Done(time.Now(), operating.Answer{Took: time.Since(fb.began)})
	}
}

// A learner takes over what answers show: which application a token is of, how much
// operating time a method has used, and which errors there were.
type learner struct {
	applications *applications
	budgets      *operating.Guard
	experience   *experience
	gazette      *gazette
	journal      journal
}

// learn takes over what an answer shows, whether or not somebody waits for it.
func (l *learner) learn(fb *feedback, h http.Header, a bitrix24.Answer) {
	if a.Kind.IsError() {
		l.journal.Record(operator.ErrorSeen{Call: fb.call, Source: metrics.FromPortal, Code: a.ErrorCode()})
	}
	for _, inner := range a.Inner {
		if !fb.joined { // those are sent alone, and their errors count then
			l.journal.Record(operator.ErrorSeen{Call: fb.call, Source: metrics.FromBatch, Code: inner.Code})
		}
	}
	if !fb.route.call.REST() {
		return
	}
	l.experience.took(fb.route, cmp.Or(a.Time.Processing, a.Time.Duration)) // a command has only the work of its method
	if application := h.Get("X-Bitrix-Rest-Application"); l.applications.learn(fb.cred, application) {
		l.gazette.application(fb.cred.ID, application)
	}
	now := time.Now()
	answer := operating.Answer{
		Ran:     a.Executed() == bitrix24.RanYes,
		Blocked: isOperatingLimit(a.Code),
		Usage:   usage(now, a.Time),
		Took:    fb.took,
	}
	if credential := l.applications.of(fb.cred); credential != fb.key.Credential { // the answer has just named the application
		fb.lost()
		fb.pass, fb.key.Credential = nil, credential
	}
	switch {
	case fb.pass != nil:
		fb.pass.Done(now, answer)
	case answer.Blocked:
		l.budgets.Blocked(now, fb.key)
	default:
		l.budgets.Learn(now, fb.key, answer.Usage)
	}
	l.gazette.usage(now, fb.key, answer.Blocked, answer.Usage)
	l.learnInner(fb, now, a)
}

// learnInner takes over what a batch reports of its commands, for their own methods. What
// a webhook's batch reports is not the webhook's own (bitrix24/README.md#batch-of-version-2).
func (l *learner) learnInner(fb *feedback, now time.Time, a bitrix24.Answer) {
	if len(a.Inner) == 0 && len(a.InnerTimes) == 0 || fb.joined && fb.cred.Kind == bitrix24.CredentialWebhook {
		return
	}
	methods := bitrix24.Commands(fb.route.rawQuery(), fb.contentType, fb.body)
	k := fb.key
	for command, spent := range a.InnerTimes {
		if k.Method = methods[command]; k.Method != "" {
			u := usage(now, spent)
			l.budgets.Learn(now, k, u)
			l.gazette.usage(now, k, false, u)
		}
	}
	for _, inner := range a.Inner {
		if k.Method = methods[inner.Key]; k.Method != "" && isOperatingLimit(inner.Code) {
			l.budgets.Blocked(now, k)
			l.gazette.usage(now, k, true, operating.Usage{})
		}
	}
}

func isOperatingLimit(code bitrix24.Code) bool {
	known := bitrix24.Lookup(code)
	return known != nil && known.Category == bitrix24.CategoryOperatingTime
}

func usage(now time.Time, spent bitrix24.Time) operating.Usage {
	return operating.Usage{
		Known:   spent.HasOperating,
		Used:    time.Duration(spent.Operating * float64(time.Second)),
		ResetAt: now.Add(spent.UntilReset(now)),
	}
}

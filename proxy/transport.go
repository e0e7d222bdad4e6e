package proxy

import (
	"net/http"

	"b24proxy/proxy/bitrix24"
)

// A transport sends calls to their portals. It waits for a slot, sends the call,
// learns from the answer, and perhaps sends the call again. The wait is here so that
// every attempt takes a slot, also a repeated one.
type transport struct {
	admitter admitter     // makes the call wait for a slot
	sender   sender       // sends it, and learns from the answer
	resender resender     // decides whether it is sent again
	joiner   *joiner      // sends reads that wait in one batch
	repeats  *repeatGuard // knows whether it repeats another call
	journal  journal
}

// RoundTrip fails with a *failure, or with the context's cause.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req.Context())
	ex.repeatable = isRepeatable(ex, req)
	resp, err := t.repeats.meet(req, ex)
	if resp != nil || err != nil {
		return resp, err
	}
	resp, err = t.send(req, ex)
	ex.write.failed(err)
	return resp, err
}

// send sends a call until it has its answer.
func (t *transport) send(req *http.Request, ex *exchange) (*http.Response, error) {
	if resp, err := t.joiner.travel(req, ex); resp != nil || err != nil {
		return resp, err
	}
	var last *attempt // that is to be repeated
	var reason bitrix24.Reason
	var status int // of the last attempt's answer
	for {
		admitted, err := t.admitter.admit(req.Context(), ex, reason == refused || reason == expired)
		if last != nil {
			if err != nil && keeps(ex, reason, err) {
				return last.deliver(req.Context())
			}
			last.discard()
		}
		if err != nil {
			return nil, err
		}
		if reason != "" {
			t.journal.Record(ex.sentAgain(req.Method, reason, status))
		}
		if !ex.write.sent() {
			admitted.giveBack()
			return nil, takenOver()
		}
		at := t.sender.begin(ex, req, admitted)
		if err := at.wait(req.Context(), ex); err != nil {
			return nil, err
		}
		ex.answer, status = at.answer, at.status
		if reason, err = t.resender.next(ex, req, at); err != nil {
			at.discard()
			return nil, err
		}
		switch reason {
		case "":
			return at.deliver(req.Context())
		case renamed:
			at.discard()
			last = nil
		default:
			last = at // it counts as in flight no longer, see report
		}
	}
}

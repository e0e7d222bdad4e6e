package proxy

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/joining"
	"b24proxy/proxy/operator"
)

// A joiner lets reads that wait for slots of a portal travel together: the one that gets
// a slot takes others along that wait. Nobody waits for a batch to fill.
type joiner struct {
	byDefault  bool // reads travel together unless their client does not want it
	admitter   *admitter
	sender     *sender
	experience *experience
	spool      *spool
	journal    journal
	batches    atomic.Uint64 // lost ones, to name their halves
}

// travel sends a read with others that wait, and returns its answer. It returns neither
// an answer nor an error if the read is sent alone, perhaps with the admission that it was
// granted.
func (j *joiner) travel(req *http.Request, ex *exchange) (*http.Response, error) {
	if ex.rider = j.riderOf(req, ex); ex.rider == nil {
		return nil, nil
	}
	defer func() { ex.rider = nil }()
	var last ride
	for {
		resp, isOff, err := j.enter(req, ex, last)
		if !isOff {
			return resp, err
		}
		if last, err = ex.rider.wait(ex); err != nil {
			return nil, err
		}
		switch {
		case last.failed != nil:
			return nil, last.failed
		case last.answer != nil && !last.refused:
			return j.arrive(req, ex, last.answer), nil
		case !ex.rider.again(ex, last):
			j.sentAlone(req, ex, last.alone)
			return nil, nil
		}
	}
}

// enter waits until a read is on its way with others: with a slot of its own, or taken
// along. If it is not, enter returns what travel returns.
func (j *joiner) enter(req *http.Request, ex *exchange, last ride) (resp *http.Response, isOff bool, err error) {
	admitted, err := j.admitter.admit(req.Context(), ex, last.refused)
	switch {
	case errors.Is(err, limiter.ErrTaken):
		ex.takenAlong++
		return nil, true, nil
	case err != nil && last.refused && keeps(ex, refused, err):
		return j.arrive(req, ex, last.answer), false, nil
	case err != nil:
		return nil, false, err
	case j.depart(req, ex, admitted):
		return nil, true, nil
	}
	ex.granted = &admitted
	return nil, false, nil
}

// arrive gives a caller the answer that was in the batch.
func (j *joiner) arrive(req *http.Request, ex *exchange, a *joinedAnswer) *http.Response {
	ex.together = a.reads
	ex.answer = bitrix24.Examine(ex.route.call, a.status, a.header.Get("Content-Type"), a.body)
	return a.response(req, ex)
}

// riderOf returns the rider that a call is, or nil if the call is sent alone.
func (j *joiner) riderOf(req *http.Request, ex *exchange) *rider {
	wants := j.byDefault || ex.joins == "yes"
	if !wants || j.admitter.observe || !ex.route.call.REST() || !ex.route.call.Read() {
		return nil
	}
	j.experience.isNeeded.Store(true)
	r := &rider{key: j.admitter.budgetKey(ex), deadline: ex.deadline, caller: req.Context(), came: make(chan ride, 1)}
	if reason := j.board(r, req, ex); reason != "" {
		j.sentAlone(req, ex, reason)
		return nil
	}
	return r
}

func (j *joiner) sentAlone(req *http.Request, ex *exchange, reason joining.Reason) {
	j.journal.Record(operator.SentAlone{Call: ex.call(req.Method), Reason: bitrix24.Reason(reason)})
}

// board says why a read is sent alone; "" if it may travel.
func (j *joiner) board(r *rider, req *http.Request, ex *exchange) (reason joining.Reason) {
	switch {
	case ex.joins == "no":
		return joining.Unwanted
	case ex.body.file != nil:
		return joining.Size
	}
	r.read, reason = joining.Prepare(joining.Request{
		Verb: req.Method, Call: ex.route.call, Path: ex.route.path, Query: ex.route.rawQuery(), Header: req.Header, Body: ex.body.head,
	})
	if reason != "" {
		return reason
	}
	r.group = r.read.Group
	return j.experience.alone(time.Now(), r)
}

// depart sends a read that got a slot with others that wait, and reports whether there
// are any.
func (j *joiner) depart(req *http.Request, ex *exchange, admitted admission) bool {
	b := &joinedBatch{joiner: j, admission: admission{slot: admitted.slot, key: admitted.key}, finished: make(map[*rider]bool)}
	b.admission.key.Method = "batch"
	ex.rider.pass = admitted.pass
	if !b.open(ex.rider) {
		return false
	}
	b.board(ex.rider)
	if len(b.riders) == 1 || !b.address(req, ex) {
		b.cancel(ex.rider)
		return false
	}
	go b.send()
	return true
}

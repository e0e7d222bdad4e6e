package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"b24proxy/limiter/operating"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/joining"
	"b24proxy/proxy/operator"
)

// A joinedBatch is a batch of reads on its way.
type joinedBatch struct {
	joiner    *joiner
	admission admission
	riders    []*rider
	exchange  *exchange
	request   *http.Request
	stop      context.CancelCauseFunc // of the request
	attempt   *attempt
	isHalf    bool            // of one that was lost
	finished  map[*rider]bool // those whose ride has ended
}

// open reports whether a batch may be sent: the operating time of the method batch is
// not used up, and nothing speaks against its first read.
func (b *joinedBatch) open(first *rider) bool {
	now := time.Now()
	budgets := b.joiner.admitter.budgets
	if b.joiner.experience.alone(now, first) != "" || budgets.Holds(now, first.key) || budgets.Holds(now, b.admission.key) {
		return false
	}
	b.admission.pass, _, _ = budgets.Enter(now, b.admission.key, first.deadline)
	b.isHalf = first.group != first.read.Group
	return b.admission.pass != nil
}

// board takes those along that wait, as many as have room.
func (b *joinedBatch) board(first *rider) {
	x := b.joiner.experience
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	load := x.pace.Load()
	load.Add(first.paceKey())
	b.riders = []*rider{first}
	b.admission.slot.Take(func(other any) bool {
		r := other.(*rider)
		if r.caller.Err() != nil || x.aloneLocked(now, r) != "" || b.joiner.admitter.budgets.Holds(now, r.key) || !load.Add(r.paceKey()) {
			return false
		}
		r.pass, _, _ = b.joiner.admitter.budgets.Enter(now, r.key, r.deadline)
		if r.pass != nil {
			b.riders = append(b.riders, r)
		}
		return r.pass != nil
	}, load.Full)
}

// cancel gives back what a batch holds that is not sent. The first read is sent alone.
func (b *joinedBatch) cancel(first *rider) {
	b.admission.pass.Done(time.Now(), operating.Answer{})
	for _, r := range b.riders {
		if r != first {
			r.pass.Done(time.Now(), operating.Answer{})
			r.came <- ride{alone: joining.Size}
		}
	}
}

// address makes the request of the batch from that of its first read, and reports
// whether there is room for its body. The request ends when all callers have left.
func (b *joinedBatch) address(req *http.Request, ex *exchange) bool {
	reads := make([]joining.Read, len(b.riders))
	for i, r := range b.riders {
		reads[i] = r.read
	}
	batch := joining.Encode(reads)
	content, ok := b.joiner.spool.keep(batch.Body)
	if !ok {
		return false
	}
	to := ex.route
	to.path, to.query, to.call = batch.Path, "", bitrix24.ParseCall(batch.Path)
	if batch.Query != "" {
		to.query = "?" + batch.Query
	}
	b.exchange = &exchange{id: requestID(nil), route: to, client: ex.client, cred: ex.cred, body: content, began: time.Now(), joined: true}
	ctx, cancel := untilAllLeave(b.riders)
	b.request, b.stop = req.Clone(b.exchange.in(ctx)), cancel
	b.request.Method = http.MethodPost
	b.request.Header.Set("Content-Type", "application/json")
	b.request.Header.Set("Accept-Encoding", "gzip")
	for _, name := range []string{"X-Request-Id", "Content-Length", "Traceparent", "Tracestate"} {
		b.request.Header.Del(name)
	}
	return true
}

// untilAllLeave returns a context that ends when the callers of all riders have left.
func untilAllLeave(riders []*rider) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var left atomic.Int64
	for _, r := range riders {
		context.AfterFunc(r.caller, func() {
			if left.Add(1) == int64(len(riders)) {
				cancel(context.Cause(r.caller))
			}
		})
	}
	return ctx, cancel
}

// send sends the batch and ends the ride of each read.
func (b *joinedBatch) send() {
	j := b.joiner
	defer b.exchange.body.release()
	defer b.stop(nil)
	defer func() {
		if cause := recover(); cause != nil {
			b.end(ride{failed: panicked(j.journal, b.exchange.call(http.MethodPost), cause)})
		}
	}()
	j.journal.Record(operator.Joined{Call: b.exchange.call(http.MethodPost), Reads: len(b.riders)})
	s := *j.sender
	s.timeout = min(s.timeout, joining.Longest)
	b.attempt = s.begin(b.exchange, b.request, b.admission)
	<-b.attempt.done
	defer b.attempt.end()
	b.settle()
}

// settle decides what becomes of the reads.
func (b *joinedBatch) settle() {
	at := b.attempt
	switch {
	case at.err != nil && at.err.executed == bitrix24.RanNo:
		b.end(ride{failed: at.err})
		return
	case at.err != nil:
		b.lost()
		return
	}
	content, release, err := b.readAll()
	defer release()
	switch a := at.answer; {
	case err != nil, a.Kind == bitrix24.KindNoAnswer && !lasts(at.status), a.Kind == bitrix24.KindSystemError && a.Executed() != bitrix24.RanNo:
		b.lost()
	case a.IsRefusal():
		b.sentAgain(refused)
		b.end(ride{refused: true, answer: b.answer(content)})
	case at.status == http.StatusUnauthorized && isOfToken(a.Code):
		b.end(ride{answer: b.answer(content)})
	case a.Kind != bitrix24.KindOK || at.status != http.StatusOK:
		b.endAlone(joining.Failed, false)
	default:
		b.split(content)
	}
}

// isOfToken reports whether an error is one that each read of the batch would get too.
func isOfToken(code bitrix24.Code) bool {
	known := bitrix24.Lookup(code)
	return known != nil && (known.Code == "expired_token" || known.Code == "invalid_token")
}

// split gives each read its part of the answer.
func (b *joinedBatch) split(content []byte) {
	for i, p := range joining.Split(content, len(b.riders)) {
		b.joiner.experience.learn(b.riders[i], p)
		if p.Alone != "" {
			b.finish(b.riders[i], ride{alone: p.Alone, ran: true})
		} else {
			b.finish(b.riders[i], ride{answer: b.answer(p.Body)})
		}
	}
}

// lost lets the reads of a batch without an answer travel again in two halves, and those
// of a half alone.
func (b *joinedBatch) lost() {
	b.sentAgain(b.attempt.reason())
	if b.isHalf {
		b.endAlone(joining.Lost, true)
		return
	}
	n := b.joiner.batches.Add(1)
	for i, r := range b.riders {
		b.finish(r, ride{group: fmt.Sprintf("%s %d %d", r.read.Group, n, 2*i/len(b.riders)), ran: true})
	}
}

// sentAgain records that the reads are sent again.
func (b *joinedBatch) sentAgain(reason bitrix24.Reason) {
	b.exchange.answer = b.attempt.answer
	b.exchange.mayHaveRun = reason != refused
	b.joiner.journal.Record(b.exchange.sentAgain(http.MethodPost, reason, b.attempt.status))
}

// reason says why an attempt failed.
func (at *attempt) reason() bitrix24.Reason {
	if at.err != nil {
		return at.err.reason
	}
	return cmp.Or(at.answer.ErrorInfo().Reason, bitrix24.ReasonTruncated)
}

// endAlone lets the reads of a batch that failed as a whole be sent alone.
func (b *joinedBatch) endAlone(reason joining.Reason, mayHaveRun bool) {
	b.joiner.experience.failed(b.riders[0])
	b.end(ride{alone: reason, ran: mayHaveRun})
}

func (b *joinedBatch) end(all ride) {
	for _, r := range b.riders {
		b.finish(r, all)
	}
}

// finish ends the ride of a rider, once.
func (b *joinedBatch) finish(r *rider, came ride) {
	if b.finished[r] {
		return
	}
	b.finished[r] = true
	r.pass.Done(time.Now(), operating.Answer{})
	r.came <- came
}

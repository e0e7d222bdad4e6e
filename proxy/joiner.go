package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/operating"
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

// travel sends a read with others that wait. It returns the answer, or an error; or
// neither, if the read goes alone: with the admission that it was granted, if it has one.
func (j *joiner) travel(req *http.Request, ex *exchange) (resp *http.Response, granted *admission, err error) {
	if ex.rider = j.riderOf(req, ex); ex.rider == nil {
		return nil, nil, nil
	}
	r := ex.rider
	defer func() { ex.rider = nil }()
	var came ride
	for {
		admitted, err := j.admitter.admit(req.Context(), ex, came.refused)
		switch isTaken := errors.Is(err, limiter.ErrTaken); {
		case err != nil && !isTaken && came.refused && keeps(ex, refused, err):
			return j.arrive(req, ex, came.answer), nil, nil
		case err != nil && !isTaken:
			return nil, nil, err
		case isTaken:
			ex.takenAlong++
		case !j.depart(req, ex, admitted):
			return nil, &admitted, nil
		}
		if came, err = r.wait(ex); err != nil {
			return nil, nil, err
		}
		switch {
		case came.failed != nil:
			return nil, nil, came.failed
		case came.answer != nil && !came.refused:
			return j.arrive(req, ex, came.answer), nil, nil
		case !r.again(ex, came):
			j.sentAlone(req, ex, came.alone)
			return nil, nil, nil
		}
	}
}

// arrive gives a caller the answer that was in the batch.
func (j *joiner) arrive(req *http.Request, ex *exchange, a *joinedAnswer) *http.Response {
	ex.together = a.reads
	ex.answer = bitrix24.Examine(ex.route.call, a.status, a.header.Get("Content-Type"), a.body)
	return a.response(req, ex)
}

// riderOf returns the rider that a call is, or nil if the call goes alone.
func (j *joiner) riderOf(req *http.Request, ex *exchange) *rider {
	wants := j.byDefault || ex.joins == "yes"
	if !wants || j.admitter.observe || !ex.route.call.REST() || !ex.route.call.Read() {
		return nil
	}
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

// board says why a read goes alone; "" if it may travel.
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
	b := &joinedBatch{joiner: j, admission: admission{slot: admitted.slot, key: admitted.key}, told: make(map[*rider]bool)}
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
	told      map[*rider]bool // those whose ride has ended
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

// cancel gives back what a batch holds that is not sent. The first read goes alone.
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

// send sends the batch and tells each rider how it ended.
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
			b.tell(b.riders[i], ride{alone: p.Alone})
		} else {
			b.tell(b.riders[i], ride{answer: b.answer(p.Body)})
		}
	}
}

// answer is an answer with the headers of the batch, without those that describe it.
func (b *joinedBatch) answer(content []byte) *joinedAnswer {
	h := b.attempt.resp.Header.Clone()
	for _, name := range []string{
		"Content-Encoding", "Transfer-Encoding", "Set-Cookie", "Etag", "Last-Modified", "Server-Timing",
		"X-Bitrix-Rest-Time", "X-Bitrix-Rest-User-Time", "X-Bitrix-Rest-System-Time",
	} {
		h.Del(name)
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	return &joinedAnswer{b.attempt.status, h, content, len(b.riders)}
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
		b.tell(r, ride{group: fmt.Sprintf("%s %d %d", r.read.Group, n, 2*i/len(b.riders)), ran: true})
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

func (b *joinedBatch) endAlone(reason joining.Reason, mayHaveRun bool) {
	for _, r := range b.riders {
		b.joiner.experience.learn(r, joining.Part{Alone: reason})
		b.tell(r, ride{alone: reason, ran: mayHaveRun})
	}
}

func (b *joinedBatch) end(all ride) {
	for _, r := range b.riders {
		b.tell(r, all)
	}
}

// tell ends the ride of a rider, once.
func (b *joinedBatch) tell(r *rider, came ride) {
	if b.told[r] {
		return
	}
	b.told[r] = true
	r.pass.Done(time.Now(), operating.Answer{})
	r.came <- came
}

// maxJoined bounds the answer of a batch.
const maxJoined = 64 << 20

var errNoRoomToJoin = errors.New("the answer of the batch is too long to be held")

// readAll reads the answer to its end and decodes it. The room for it is taken from the
// spool; release gives it back.
func (b *joinedBatch) readAll() (content []byte, release func(), err error) {
	resp := b.attempt.resp
	defer resp.Body.Close()
	from := io.Reader(resp.Body)
	if decoder, known := decoderOf(resp.Header, from); !known {
		return nil, func() {}, errNoRoomToJoin
	} else if decoder != nil {
		from = decoder
	}
	r := &roomyReader{from: from, room: &b.joiner.spool.memory}
	content, err = io.ReadAll(r)
	return content, func() { r.room.give(r.taken) }, err
}

// A roomyReader takes the room for what it reads.
type roomyReader struct {
	from  io.Reader
	room  *room
	taken int64
}

func (r *roomyReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.taken+int64(n) > maxJoined || !r.room.take(int64(n), r.room.size/8) {
		return 0, errNoRoomToJoin
	}
	r.taken += int64(n)
	return n, err
}

func bytesBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

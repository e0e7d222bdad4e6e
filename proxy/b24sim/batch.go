package b24sim

import (
	"slices"
	"strings"
	"time"
)

// maxCommands is the largest number of commands in a batch of v2.
const maxCommands = 50

// batch2 runs the commands of a v2 batch, each `method?query`. The answer has
// status 200, and errors beside the results. A command that is not a text is skipped.
func (x *exchange) batch2() (*array, *failure) {
	x.p.countRun(x.call, "batch", false)
	commands := x.params.sub("cmd")
	if commands == nil {
		commands = &array{}
	}
	if x.addr.webhook() && x.chargesInner() {
		x.cred.id = "" // the id of a webhook is not set for its commands
	}
	halt := x.params.text("halt")
	answers := &array{}
	for _, field := range []string{"result", "next", "total", "time", "error"} {
		answers.set(field, &array{})
	}
	for i, key := range commands.keys {
		text, ok := commands.values[key].(string)
		if !ok {
			continue
		}
		answer, failed := x.answer2(i, text, answers)
		for _, field := range answer.keys {
			answers.under(field).set(key, answer.values[field])
		}
		if x.dead || failed && halt != "" && halt != "0" {
			break
		}
	}
	return object("result", object("result", answers.sub("result"), "result_error", answers.sub("error"),
		"result_total", answers.sub("total"), "result_next", answers.sub("next"), "result_time", answers.sub("time"))), nil
}

// answer2 is the answer to command i of a v2 batch, and whether it is an error. The
// field error of one with a code has the whole error. Without a code it is null, and
// the command does not count as failed.
func (x *exchange) answer2(i int, text string, answers *array) (_ *array, failed bool) {
	f := fail(codeBatchLength)
	var reply *array
	var c command
	if i < maxCommands {
		c = x.command2(text, answers)
		c.started = x.p.virtualNow()
		reply, f = x.innerCall(c)
	}
	if f == nil {
		reply = reply.clone()
		reply.set("time", x.innerTime(c))
		return reply, false
	}
	body := x.innerFailure(f).body()
	answer := body.clone()
	if f.codeless() {
		return answer, false
	}
	answer.set("error", body)
	return answer, true
}

// innerFailure returns f as it is inside a batch: a missing scope has no text there,
// and an exception that an earlier command left over gives its code.
func (x *exchange) innerFailure(f *failure) *failure {
	inner := *f
	if f.code == "insufficient_scope" {
		inner.text = ""
	}
	if x.leftover != "" {
		inner.code = x.leftover
	}
	return &inner
}

// batch3 runs the commands of a REST 3.0 batch: the members {method, query} of
// the body. The body is a list, or an object that also has the caller's token.
// The first error is the whole answer, although the commands before it ran.
func (x *exchange) batch3() (*array, *failure) {
	var keys []string
	for _, key := range x.params.keys {
		if x.params.sub(key).has("method") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, invalid("batch", "The request body must be a list of commands")
	}
	x.p.countRun(x.call, "batch", false)
	results := &array{}
	for _, key := range keys {
		entry := x.params.sub(key)
		c := command{method: strings.ToLower(entry.text("method")), params: entry.sub("query"), inner: true}
		reply, f := x.innerCall(c)
		if f != nil {
			return nil, f
		}
		results.set(key, reply.values["result"])
		if x.dead {
			break
		}
	}
	return object("result", results), nil
}

// innerCall runs one command of a batch and waits for the time that it takes.
func (x *exchange) innerCall(c command) (*array, *failure) {
	if slices.Contains([]string{"batch", "upload", "download"}, c.method) {
		return nil, fail(codeBatchMethod)
	}
	slow, fault := x.p.strike(c.method, true)
	x.slow += slow
	x.waited += slow
	defer func() { x.p.sleep(slow, x.r.Context().Done()) }()
	var struck *failure
	if fault != nil {
		struck = fault.failure(x.addr.version)
		x.p.update(x.call, func(call *Call) { call.Fault = fault.String() })
		defer x.spread(fault)
	}
	if struck != nil && !fault.runs() {
		return nil, struck
	}
	reply, f := x.innerRun(c, slow)
	if struck != nil {
		return nil, struck
	}
	return reply, f
}

// innerRun runs the method of a command, and charges it.
func (x *exchange) innerRun(c command, slow time.Duration) (*array, *failure) {
	if !known(x.addr.version, c.method) {
		return nil, fail(codeMethodNotFound)
	}
	if x.chargesInner() && x.blocked(c.method) {
		return nil, fail(codeOperatingTime)
	}
	reply, f := x.perform(c)
	cost, ok := x.charge(c.method)
	if !ok {
		cost = slow
	}
	if x.chargesInner() {
		x.book(c.method, cost)
	} else if ok { // x.slow has the slow faults already
		x.inner += cost
	}
	return reply, f
}

// spread makes a fault of one command act on the rest of its batch.
func (x *exchange) spread(f *Fault) {
	switch f.Kind {
	case "leftover":
		x.leftover = f.Value
	case "php-fatal", "bad-utf8":
		x.dead = f.Kind == "php-fatal"
		if x.fault == nil {
			x.fault = f
		}
	}
}

// chargesInner reports whether the commands of this batch use the budgets of their
// methods.
func (x *exchange) chargesInner() bool {
	return x.config.Operating.Batch != BatchOuter
}

// innerTime returns one entry of result_time. If the batch itself is charged, the
// entry has the running sum of the request.
func (x *exchange) innerTime(c command) *array {
	if x.chargesInner() {
		return x.timeObject(c.method, c.started, 0)
	}
	return x.timeObject("batch", c.started, (x.inner+x.slow+x.config.Latency)/2)
}

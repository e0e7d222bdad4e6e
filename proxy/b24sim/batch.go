package b24sim

import (
	"strings"
)

// maxCommands is how many commands a batch of v2 may have.
const maxCommands = 50

// batch2 runs the commands of a v2 batch, each `method?query`. Errors stand in
// the answer beside the results, at 200.
func (x *exchange) batch2() (*array, *failure) {
	x.p.countRun(x.call, "batch", false)
	commands := x.params.sub("cmd")
	if commands == nil {
		commands = &array{}
	}
	halt := x.params.text("halt")
	results, errs, totals, nexts, times := &array{}, &array{}, &array{}, &array{}, &array{}
	for i, key := range commands.keys {
		method, query, _ := strings.Cut(commands.text(key), "?")
		c := command{method: strings.ToLower(strings.Trim(method, "/ ")), inner: true}
		f := fail("ERROR_BATCH_LENGTH_EXCEEDED")
		var reply *array
		if i < maxCommands {
			c.params = parseForm(fillIn(query, results))
			reply, f = x.innerCall(c)
		}
		if f != nil {
			errs.set(key, f.body())
			if halt != "" && halt != "0" && halt != "false" {
				break
			}
			continue
		}
		results.set(key, reply.values["result"])
		if total, ok := reply.get("total"); ok {
			totals.set(key, total)
		}
		if next, ok := reply.get("next"); ok {
			nexts.set(key, next)
		}
		times.set(key, x.innerTime(c.method))
	}
	return object("result", object("result", results, "result_error", errs,
		"result_total", totals, "result_next", nexts, "result_time", times)), nil
}

// batch3 runs the commands of a REST 3.0 batch: the members {method, query} of
// the body, which is a list, or an object where the caller's token had to go
// in beside them. The first error is the whole answer, though the commands
// before it ran.
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
	}
	return object("result", results), nil
}

// innerCall runs one command of a batch.
func (x *exchange) innerCall(c command) (*array, *failure) {
	if c.method == "batch" {
		return nil, fail("ERROR_BATCH_METHOD_NOT_ALLOWED")
	}
	slow, fault := x.p.strike(c.method, true)
	x.slow += slow
	var struck *failure
	if fault != nil {
		struck = fault.failure(x.addr.version)
		x.p.update(x.call, func(call *Call) { call.Fault = fault.String() })
	}
	if struck != nil && !fault.runs() {
		return nil, struck
	}
	if !known(x.addr.version, c.method) {
		return nil, fail("ERROR_METHOD_NOT_FOUND")
	}
	if x.chargesInner() && x.blocked(c.method) {
		return nil, fail("OPERATION_TIME_LIMIT")
	}
	reply, f := x.perform(c)
	cost, ok := x.charge(c.method)
	if !ok {
		cost = slow
	}
	if x.chargesInner() {
		x.book(c.method, cost)
	} else if ok { // what was slow is in x.slow already
		x.inner += cost
	}
	if struck != nil {
		return nil, struck
	}
	return reply, f
}

// chargesInner tells whether the commands of this batch spend budgets of their
// own.
func (x *exchange) chargesInner() bool {
	return x.config.Operating.Batch != BatchOuter
}

// innerTime is one entry of result_time. Where the batch itself is charged, it
// carries the running sum of the request.
func (x *exchange) innerTime(method string) *array {
	if x.chargesInner() {
		return x.timeObject(method, 0)
	}
	return x.timeObject("batch", (x.inner+x.slow+x.config.Latency)/2)
}

// fillIn puts earlier results where a command names them: $result[a] or
// $result[a][ID].
func fillIn(query string, results *array) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(query, "$result")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		value, rest := pick(after, results)
		b.WriteString(value)
		query = rest
	}
}

// pick follows [a][b] into a and returns the scalar there and what comes after
// the brackets.
func pick(s string, a *array) (value, rest string) {
	for {
		inner, ok := strings.CutPrefix(s, "[")
		if !ok {
			return value, s
		}
		key, after, ok := strings.Cut(inner, "]")
		if !ok {
			return value, s
		}
		value = a.text(key)
		a = a.sub(key)
		s = after
	}
}

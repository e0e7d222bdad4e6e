package b24sim

import (
	"strings"
)

// maxCommands is the largest number of commands in a batch of v2.
const maxCommands = 50

// batch2 runs the commands of a v2 batch, each `method?query`. The answer has
// status 200, and errors beside the results.
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
		f := fail(codeBatchLength)
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
	}
	return object("result", results), nil
}

// innerCall runs one command of a batch.
func (x *exchange) innerCall(c command) (*array, *failure) {
	if c.method == "batch" {
		return nil, fail(codeBatchMethod)
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
	if struck != nil {
		return nil, struck
	}
	return reply, f
}

// chargesInner reports whether the commands of this batch use the budgets of their
// methods.
func (x *exchange) chargesInner() bool {
	return x.config.Operating.Batch != BatchOuter
}

// innerTime returns one entry of result_time. If the batch itself is charged, the
// entry has the running sum of the request.
func (x *exchange) innerTime(method string) *array {
	if x.chargesInner() {
		return x.timeObject(method, 0)
	}
	return x.timeObject("batch", (x.inner+x.slow+x.config.Latency)/2)
}

// fillIn replaces $result[a] and $result[a][ID] in a command with earlier
// results.
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

// pick follows [a][b] into a. It returns the scalar there and the text after the
// brackets.
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

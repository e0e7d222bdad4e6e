package b24sim

import (
	"encoding/json"
	"strconv"
)

// echo is the result of a read with Config.Echo: what the method was given.
func (x *exchange) echo(c command) *array {
	return object("method", c.method, "params", asText(x.given(c)))
}

// given returns the parameters that reach the method: without those that the portal
// takes out. A batch takes out fewer: see proxy/bitrix24/README.md.
func (x *exchange) given(c command) *array {
	p := &array{}
	p.merge(c.params)
	p.remove("state", x.tokenName())
	if !c.inner {
		p.remove("method")
	}
	if !c.inner && x.addr.webhook() {
		p.remove("ap", "aplogin")
	}
	return p
}

// asText returns a with its integers as text. A method reads both alike, and a batch
// can carry only text. Other values of JSON stay, since a batch cannot carry them.
func asText(a *array) *array {
	out := &array{}
	for _, key := range a.keys {
		value := a.values[key]
		switch v := value.(type) {
		case *array:
			value = asText(v)
		case json.Number:
			if n, err := v.Int64(); err == nil && strconv.FormatInt(n, 10) == v.String() {
				value = v.String()
			}
		case int:
			value = strconv.Itoa(v)
		}
		out.set(key, value)
	}
	return out
}

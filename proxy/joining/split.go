package joining

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"
)

// A Part is what the answer of a batch holds for one read.
type Part struct {
	// Alone says why the read is sent alone; "" where Body is its answer.
	Alone Reason

	// Refused says that the method is not allowed within a batch.
	Refused bool

	// Body is the answer that the read would have got alone.
	Body []byte

	// Took is how long the portal worked on the read, and below 0 if the answer does not
	// say.
	Took time.Duration
}

// Split takes the answer of a batch of n reads apart. An answer that is not understood
// to the last byte sends all of them alone.
func Split(body []byte, n int) []Part {
	parts := make([]Part, n)
	a, ok := readAnswer(body, n)
	for i := range parts {
		if parts[i].Alone = Unclear; ok {
			parts[i] = a.part(key(i))
		}
	}
	return parts
}

// An answer is the result of a batch: its members, by command.
type answer struct{ results, failures, totals, nexts, times commands }

// commands are the values of one member, by the key of the command.
type commands map[string]json.RawMessage

// readAnswer reports whether it understood the answer.
func readAnswer(body []byte, n int) (a answer, ok bool) {
	if !utf8.Valid(body) {
		return a, false
	}
	top, ok := members(body)
	_, hasFailed := top["error"]
	if !ok || hasFailed {
		return a, false
	}
	result, ok := members(top["result"])
	if !ok {
		return a, false
	}
	for name, to := range map[string]*commands{
		"result": &a.results, "result_error": &a.failures, "result_total": &a.totals, "result_next": &a.nexts, "result_time": &a.times,
	} {
		if *to, ok = byCommand(result[name], n); !ok {
			return a, false
		}
	}
	return a, true
}

// byCommand reads a member of the result: PHP writes an empty object as a list. ok is
// false if it names a command that was not sent.
func byCommand(raw json.RawMessage, n int) (c commands, ok bool) {
	if isEmptyList(raw) {
		return nil, true
	}
	c, ok = members(raw)
	for name := range c {
		ok = ok && isKeyOf(n, name)
	}
	return c, ok
}

func isEmptyList(raw json.RawMessage) bool {
	inside, isList := bytes.CutPrefix(raw, []byte("["))
	return isList && string(bytes.TrimLeft(inside, " \t\r\n")) == "]"
}

// members returns the values of a JSON object as they are written. ok is false if it is
// not an object, or has a name twice.
func members(raw []byte) (values map[string]json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	values = make(map[string]json.RawMessage)
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		var value json.RawMessage
		if err != nil || !isName || d.Decode(&value) != nil || values[name] != nil {
			return nil, false
		}
		values[name] = value
	}
	_, err := d.Token()
	_, end := d.Token()
	return values, err == nil && end == io.EOF
}

// part puts together the answer of one command, with the members in the order in which
// the portal writes them.
func (a *answer) part(key string) Part {
	result, total, next, spent := a.results[key], a.totals[key], a.nexts[key], a.times[key]
	failure, hasFailed := a.failures[key]
	switch {
	case hasFailed:
		return Part{Alone: Error, Refused: isNotAllowed(failure)}
	case result == nil:
		return Part{Alone: Missing}
	case !bytes.HasPrefix(spent, []byte("{")) || !isCount(total) || !isCount(next):
		return Part{Alone: Unclear}
	}
	var b bytes.Buffer
	b.WriteString(`{"result":`)
	b.Write(result)
	for _, m := range []struct {
		name  string
		value json.RawMessage
	}{{"next", next}, {"total", total}, {"time", spent}} {
		if m.value != nil {
			b.WriteString(`,"` + m.name + `":`)
			b.Write(m.value)
		}
	}
	b.WriteByte('}')
	return Part{Body: b.Bytes(), Took: duration(spent)}
}

// isCount reports whether a value is absent or an integer.
func isCount(raw json.RawMessage) bool { return raw == nil || integer.Match(raw) }

// duration reads the duration from a time.
func duration(raw json.RawMessage) time.Duration {
	t := struct{ Duration float64 }{-1}
	if json.Unmarshal(raw, &t) != nil || t.Duration < 0 || t.Duration > 3600 {
		return -1
	}
	return time.Duration(t.Duration * float64(time.Second))
}

func isNotAllowed(failure json.RawMessage) bool {
	var f struct{ Error string }
	return json.Unmarshal(failure, &f) == nil && f.Error == "ERROR_BATCH_METHOD_NOT_ALLOWED"
}

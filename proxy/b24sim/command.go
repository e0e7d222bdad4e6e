package b24sim

import "strings"

// splitCommand reads a command of a batch as PHP's parse_url does: a # cuts off the
// rest, and control characters become underscores. A command that begins with a
// scheme or // names no method for PHP either, so these are not told apart.
func splitCommand(s string) (method, query string) {
	s, _, _ = strings.Cut(s, "#")
	method, query, _ = strings.Cut(s, "?")
	return underscores(method), underscores(query)
}

func underscores(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '_'
		}
	}
	return string(b)
}

// command2 makes the command that a text in a v2 batch stands for. A leading / and
// .json stay in the name of the method, so there is no such method.
func (x *exchange) command2(text string, answers *array) command {
	method, query := splitCommand(text)
	params := newSubstitution(answers).apply(parseForm(query))
	return command{
		method: strings.ToLower(method),
		params: inputFilter(x.config.Filter).apply(params),
		inner:  true,
	}
}

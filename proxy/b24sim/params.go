package b24sim

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// maxVars bounds the variables of one query or form. The portal ignores later
// ones, as PHP does.
const maxVars = 10_000

// params reads the parameters of a call: those of the query, and over them those
// of the body in the form of its Content-Type. It guesses nothing: it does not
// read JSON with another type. With an error it returns what it could read.
func params(r *http.Request, body []byte) (*array, error) {
	all := parseForm(r.URL.RawQuery)
	if len(body) == 0 {
		return all, nil
	}
	kind, args, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "application/x-www-form-urlencoded":
		all.merge(parseForm(string(body)))
	case kind == "multipart/form-data":
		form, err := parseMultipart(body, args["boundary"])
		if err != nil {
			return all, err
		}
		all.merge(form)
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		v, err := parseJSON(body)
		if err != nil {
			return all, err
		}
		if a, ok := v.(*array); ok {
			all.merge(a)
		}
	}
	return all, nil
}

// parseForm reads a=1&b[c][]=2 as PHP does: nested keys become arrays, and what
// cannot be decoded stays as it is.
func parseForm(s string) *array {
	a := &array{}
	vars := 0
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		if vars++; vars > maxVars {
			break
		}
		key, value, _ := strings.Cut(part, "=")
		a.insert(unescape(key), unescape(value))
	}
	return a
}

func parseMultipart(body []byte, boundary string) (*array, error) {
	a := &array{}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxVars {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		if part.FileName() != "" {
			a.insert(part.FormName(), object("name", part.FileName(), "size", len(content)))
			continue
		}
		a.insert(part.FormName(), string(content))
	}
	return a, nil
}

// insert puts value under a PHP variable name such as a[b][].
func (a *array) insert(name string, value any) {
	key, rest, nested := strings.Cut(name, "[")
	if key == "" {
		return
	}
	path := []string{key}
	for nested {
		var inner string
		inner, rest, nested = strings.Cut(rest, "]")
		if !nested { // no closing bracket: PHP makes the bracket an underscore
			path[len(path)-1] += "_" + inner
			break
		}
		path = append(path, inner)
		if _, rest, nested = strings.Cut(rest, "["); len(path) > maxDepth {
			return
		}
	}
	for _, key := range path[:len(path)-1] {
		inner := a.sub(key)
		if key == "" || inner == nil {
			inner = &array{}
			a.put(key, inner)
		}
		a = inner
	}
	a.put(path[len(path)-1], value)
}

// put sets key, or appends if PHP's name had empty brackets.
func (a *array) put(key string, value any) {
	if key == "" {
		a.push(value)
		return
	}
	a.set(key, value)
}

// unescape decodes %XX and + and leaves a broken escape as it is.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if u, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(u)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

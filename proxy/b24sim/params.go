package b24sim

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// params reads the parameters of a call: those of the query, and over them those
// of the body in the form of its Content-Type. It guesses nothing: it does not
// read JSON with another type. The filter of input changes what comes in the query
// or in a form; JSON is read raw. With an error params returns what it could read.
func params(r *http.Request, body []byte, filter inputFilter) (*array, error) {
	all := filter.apply(parseForm(r.URL.RawQuery))
	if len(body) == 0 {
		return all, nil
	}
	kind, args, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "application/x-www-form-urlencoded":
		all.merge(filter.apply(parseForm(string(body))))
	case kind == "multipart/form-data":
		form, err := parseMultipart(body, args["boundary"])
		if err != nil {
			return all, err
		}
		all.merge(filter.apply(form))
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

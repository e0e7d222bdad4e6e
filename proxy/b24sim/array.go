package b24sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
)

// array is PHP's array: keys in their order, values of any kind. The portal is
// written in PHP, so it writes an empty object as [], and one with the keys 0..n
// as a JSON list.
//
// Values are *array, string, bool, nil, int, json.Number or anything that
// encoding/json can write.
type array struct {
	keys   []string
	values map[string]any
	free   int64 // above the numbers among keys; where push goes
	full   bool  // the greatest number is a key: push does nothing
}

// object makes an array of alternating keys and values.
func object(pairs ...any) *array {
	a := &array{}
	for i := 0; i+1 < len(pairs); i += 2 {
		a.set(pairs[i].(string), pairs[i+1])
	}
	return a
}

// list makes an array with the keys 0..n.
func list(values ...any) *array {
	a := &array{}
	for _, v := range values {
		a.push(v)
	}
	return a
}

func (a *array) set(key string, value any) {
	if a.values == nil {
		a.values = make(map[string]any)
	}
	if _, ok := a.values[key]; !ok {
		a.keys = append(a.keys, key)
	}
	a.values[key] = value
	if n, ok := numeric(key); ok && n >= a.free {
		a.free, a.full = n+1, n == math.MaxInt64
	}
}

// numeric reports whether PHP makes a key a number: it is written as PHP writes one.
func numeric(key string) (int64, bool) {
	if key == "" || key[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(key, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == key
}

// push appends value under the number above all others, as PHP's a[]=value.
func (a *array) push(value any) {
	if !a.full {
		a.set(strconv.FormatInt(a.free, 10), value)
	}
}

func (a *array) remove(keys ...string) {
	for _, key := range keys {
		delete(a.values, key)
	}
	a.keys = slices.DeleteFunc(a.keys, func(key string) bool { return !a.has(key) })
}

// renumbered is a with its numbers replaced by 0..n, as PHP's array_merge does.
func (a *array) renumbered() *array {
	b := &array{}
	for _, key := range a.keys {
		if _, ok := numeric(key); ok {
			b.push(a.values[key])
			continue
		}
		b.set(key, a.values[key])
	}
	return b
}

func (a *array) has(key string) bool {
	_, ok := a.get(key)
	return ok
}

// get is safe on a nil array, which is empty.
func (a *array) get(key string) (any, bool) {
	if a == nil {
		return nil, false
	}
	v, ok := a.values[key]
	return v, ok
}

// sub returns the array under key, or nil.
func (a *array) sub(key string) *array {
	v, _ := a.get(key)
	inner, _ := v.(*array)
	return inner
}

// under returns the array under key, and makes one if there is none.
func (a *array) under(key string) *array {
	if a.sub(key) == nil {
		a.set(key, &array{})
	}
	return a.sub(key)
}

// text returns the scalar under the first of keys that has one, or "".
func (a *array) text(keys ...string) string {
	for _, key := range keys {
		switch v, _ := a.get(key); v := v.(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		case int:
			return strconv.Itoa(v)
		case bool:
			if v {
				return "1"
			}
		}
	}
	return ""
}

// isList reports whether PHP's json_encode would write a list.
func (a *array) isList() bool {
	for i, key := range a.keys {
		if key != strconv.Itoa(i) {
			return false
		}
	}
	return true
}

// MarshalJSON writes a as PHP's json_encode would.
func (a *array) MarshalJSON() ([]byte, error) {
	return appendJSON(nil, a)
}

func appendJSON(dst []byte, value any) ([]byte, error) {
	a, ok := value.(*array)
	if !ok {
		return appendScalar(dst, value)
	}
	asList := a.isList()
	open, end := byte('{'), byte('}')
	if asList {
		open, end = '[', ']'
	}
	dst = append(dst, open)
	var err error
	for i, key := range a.keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !asList {
			if dst, err = appendScalar(dst, key); err != nil {
				return nil, err
			}
			dst = append(dst, ':')
		}
		if dst, err = appendJSON(dst, a.values[key]); err != nil {
			return nil, err
		}
	}
	return append(dst, end), nil
}

func appendScalar(dst []byte, value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}

// maxDepth bounds the nesting of parameters, as PHP does.
const maxDepth = 64

var errDepth = fmt.Errorf("nested deeper than %d", maxDepth)

// parseJSON reads one JSON value and keeps the order of keys.
func parseJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, errDepth
	}
	a := &array{}
	for dec.More() {
		key := strconv.Itoa(len(a.keys))
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key = name.(string)
		}
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		a.set(key, v)
	}
	_, err = dec.Token() // the closing delimiter
	return a, err
}

// merge lays b over a, as PHP's $_REQUEST lays the body over the query.
func (a *array) merge(b *array) {
	if b == nil {
		return
	}
	for _, key := range b.keys {
		a.set(key, b.values[key])
	}
}

// clone copies a, but not the arrays in it.
func (a *array) clone() *array {
	b := *a
	b.keys, b.values = slices.Clone(a.keys), maps.Clone(a.values)
	return &b
}

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"b24proxy/proxy/bitrix24"
)

// An examination looks at an answer while it passes, as the body of the
// response. The first part of an answer is held back until it is known whether
// it will pass; of a long one the rest streams. What it means is learned once,
// at its end, or when nobody reads on.
type examination struct {
	body    io.ReadCloser // the portal's, as it comes
	held    []byte        // read from body and not yet passed on
	scanner *bitrix24.Scanner
	decoded io.WriteCloser // takes what streams, decoded for the scanner
	ended   bool           // body was read to its end
	broken  bool           // body broke off
	learn   func(bitrix24.Answer)
	once    sync.Once
}

// examine tells what an answer means as far as it must be known before it
// passes; learn is called with all that is told, now or when it has passed.
// What comes out of resp.Body afterwards is what came in.
func examine(resp *http.Response, call bitrix24.Call, learn func(bitrix24.Answer)) bitrix24.Answer {
	encoding, readable := decoderOf(resp.Header)
	fileness := bitrix24.FileOf(resp.StatusCode, resp.Header.Get("Content-Disposition"), resp.Header.Get("Content-Type"))
	if !readable || fileness == bitrix24.File || !call.REST() || resp.Request.Method == http.MethodHead || resp.Request.Method == http.MethodOptions {
		learn(bitrix24.Answer{})
		return bitrix24.Answer{}
	}
	x := &examination{
		body:    resp.Body,
		scanner: bitrix24.NewScanner(call, resp.StatusCode, resp.Header.Get("Content-Type")),
		learn:   learn,
	}
	resp.Body = x
	text, verdict, err := x.readHead(encoding)
	switch {
	case verdict == bitrix24.Stream:
		x.decoded = encoding.stream(x.scanner, x.held, len(text))
		return bitrix24.Answer{Kind: bitrix24.OK}
	case errors.Is(err, errUnknown):
		x.settle(bitrix24.Answer{})
		return bitrix24.Answer{}
	case err != nil: // it broke off: whatever came of it is no answer
		answer := bitrix24.NewScanner(call, resp.StatusCode, "").Finish(false)
		if errors.Is(context.Cause(resp.Request.Context()), errTimeout) {
			answer.Reason = reasonTimeout
		}
		x.settle(answer)
		return answer
	}
	answer := x.scanner.Finish(true)
	if fileness == bitrix24.MayBeFile && (answer.Reason == bitrix24.ReasonNotJSON || answer.Reason == bitrix24.ReasonHTML) {
		answer = bitrix24.Answer{}
	}
	x.settle(answer)
	return answer
}

// maxHeld bounds what is held back. Plain text never reaches it: the scanner has
// decided before. Compressed nothing might.
const maxHeld = 2 << 20

var errUnknown = errors.New("too much of the answer says nothing")

// readHead reads until the scanner has decided.
func (x *examination) readHead(encoding encoding) (text []byte, verdict bitrix24.Verdict, err error) {
	for step := 4 << 10; ; step *= 2 {
		var n int64
		buffer := bytes.NewBuffer(x.held)
		n, err = io.CopyN(buffer, x.body, int64(step))
		x.held = buffer.Bytes()
		x.ended = n < int64(step) && errors.Is(err, io.EOF)
		if err != nil && !x.ended {
			return nil, bitrix24.More, err
		}
		if len(x.held) > maxHeld {
			return nil, bitrix24.More, errUnknown
		}
		var whole bool
		text, whole, err = encoding.head(x.held, x.ended)
		if err != nil {
			return nil, bitrix24.More, err
		}
		if verdict = x.scanner.Head(text, whole); verdict != bitrix24.More {
			return text, verdict, nil
		}
	}
}

// Read passes the answer on.
func (x *examination) Read(p []byte) (int, error) {
	if len(x.held) > 0 {
		n := copy(p, x.held)
		x.held = x.held[n:]
		return n, nil
	}
	if x.ended {
		return 0, io.EOF
	}
	n, err := x.body.Read(p)
	if x.decoded != nil {
		x.decoded.Write(p[:n])
	}
	if err == nil {
		return n, nil
	}
	x.ended = errors.Is(err, io.EOF)
	x.broken = !x.ended
	if a := x.finish(); x.ended && a.Kind == bitrix24.NoAnswer {
		return n, io.ErrUnexpectedEOF // it ends in the middle; so must the caller's
	}
	return n, err
}

// Close ends the examination of what nobody reads on.
func (x *examination) Close() error {
	x.finish()
	return x.body.Close()
}

func (x *examination) finish() (a bitrix24.Answer) {
	x.once.Do(func() {
		if x.decoded != nil {
			x.decoded.Close()
		}
		a.Kind = bitrix24.OK // the caller left; it is not the portal's failure
		if x.ended || x.broken {
			a = x.scanner.Finish(x.ended)
		}
		x.learn(a)
	})
	return a
}

func (x *examination) settle(a bitrix24.Answer) { x.once.Do(func() { x.learn(a) }) }

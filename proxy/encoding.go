package proxy

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"b24proxy/proxy/bitrix24"
)

// An encoding opens a reader of decoded text; nil is the identity. Portals
// compress when the client asks, and the answer passes as compressed; it is
// decoded beside, to be examined.
type encoding func(io.Reader) (io.Reader, error)

// decoderOf finds the encoding of an answer; one that is not known here cannot
// be examined.
func decoderOf(h http.Header) (e encoding, readable bool) {
	switch strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ","))) {
	case "", "identity":
		return nil, true
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, true
	case "deflate":
		return inflate, true
	case "br":
		return func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }, true
	case "zstd":
		return func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		}, true
	}
	return nil, false
}

// maxWindow bounds what a decoder remembers (RFC 9659 for zstd).
const maxWindow = 8 << 20

// inflate reads deflate as it is defined, and as some servers send it, without
// its zlib frame.
func inflate(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	frame, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if frame[0]&0x0f == 8 && (int(frame[0])<<8|int(frame[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// maxDecodedHead bounds what is decoded before it is known what an answer
// means; the scanner wants less.
const maxDecodedHead = 2 << 20

// head decodes the beginning of an answer; whole tells that this is all of it.
// It fails where a whole answer cannot be decoded.
func (e encoding) head(raw []byte, ended bool) (text []byte, whole bool, err error) {
	if e == nil || len(raw) == 0 {
		return raw, ended, nil
	}
	var decoded bytes.Buffer
	reader, err := e(bytes.NewReader(raw))
	if err == nil {
		_, err = io.CopyN(&decoded, reader, maxDecodedHead)
	}
	switch {
	case err == nil:
		return decoded.Bytes(), false, nil
	case errors.Is(err, io.EOF):
		return decoded.Bytes(), ended, nil
	case !ended && errors.Is(err, io.ErrUnexpectedEOF):
		return decoded.Bytes(), false, nil
	}
	return nil, false, err
}

// stream decodes an answer of which so many bytes of text have been seen, on
// its way to the scanner. Bytes of the answer are written to it as they pass.
func (e encoding) stream(to *bitrix24.Scanner, held []byte, seen int) io.WriteCloser {
	if e == nil {
		return writer{to}
	}
	from, in := io.Pipe()
	d := &decoding{in: in, ended: make(chan struct{})}
	go func() { // ends with Close, or when the answer cannot be decoded
		defer close(d.ended)
		reader, err := e(io.MultiReader(bytes.NewReader(held), from))
		if err == nil {
			_, err = io.CopyN(io.Discard, reader, int64(seen))
		}
		if err == nil {
			_, err = io.Copy(to, reader)
		}
		from.CloseWithError(err) // what still comes is not wanted
	}()
	return d
}

// A decoding feeds a decoder that runs beside the answer.
type decoding struct {
	in    *io.PipeWriter
	ended chan struct{}
}

func (d *decoding) Write(p []byte) (int, error) { return d.in.Write(p) }

// Close waits for the scanner to have seen all.
func (d *decoding) Close() error {
	d.in.Close()
	<-d.ended
	return nil
}

type writer struct{ io.Writer }

func (writer) Close() error { return nil }

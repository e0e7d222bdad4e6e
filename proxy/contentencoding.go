package proxy

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// An encoding opens a reader of decoded text; nil is the identity. Portals compress
// an answer if the client asks for it. It passes compressed, and is decoded only to
// be examined.
type encoding func(io.Reader) (io.Reader, error)

// maxEncodings bounds how many encodings of one answer are undone.
const maxEncodings = 3

// decoderOf returns a reader that decodes an answer, or nil if it is not encoded.
// known is false if it cannot be decoded here.
func decoderOf(h http.Header, from io.Reader) (decoder io.Reader, known bool) {
	var all []encoding
	for name := range strings.SplitSeq(strings.Join(h["Content-Encoding"], ","), ",") {
		e, known := encodingNamed(strings.ToLower(strings.TrimSpace(name)))
		if !known || len(all) == maxEncodings {
			return nil, false
		}
		if e != nil {
			all = append(all, e)
		}
	}
	for _, e := range slices.Backward(all) {
		decoder = &lazyDecoder{open: e, from: from}
		from = decoder
	}
	return decoder, true
}

// An lazyDecoder opens its decoder with the first read, since that reads already.
type lazyDecoder struct {
	open    encoding
	from    io.Reader
	decoder io.Reader
}

func (o *lazyDecoder) Read(p []byte) (n int, err error) {
	if o.decoder == nil {
		if o.decoder, err = o.open(o.from); err != nil {
			o.decoder = nil
			return 0, err
		}
	}
	return o.decoder.Read(p)
}

func encodingNamed(name string) (e encoding, known bool) {
	switch name {
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

// maxWindow bounds the memory of a decoder (RFC 9659 for zstd).
const maxWindow = 8 << 20

// inflate reads deflate both as it is defined and without its zlib frame, as some
// servers send it.
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

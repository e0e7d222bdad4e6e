package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

// An answer that streams compressed is decoded only up to a bound. It is enough for
// all answers that portals send, and stops at one that is made to grow. Then neither
// the time of the answer nor its end is known here; the caller, who decodes it too,
// notices if it is cut off.
const (
	decodeAtLeast = 4 << 20
	decodeAtMost  = 64 << 20
	decodeRatio   = 100 // to the bytes that came; JSON is seldom compressed to a fiftieth
)

// A sideDecoder decodes an answer that streams for its scanner, as fast as the answer
// passes.
type sideDecoder struct {
	in    *io.PipeWriter
	left  atomic.Bool   // the caller has left
	ended chan struct{} // closed when the scanner gets no more
	lost  bool          // the scanner did not get all; valid once ended is closed
}

// newSideDecoder continues where the decoding of the answer's beginning stopped. It
// must be closed. A panic ends the decoding alone, not the answer; crashed records it.
func newSideDecoder(decoder io.Reader, source *tap, seen int, scanner io.Writer, crashed func(cause any)) *sideDecoder {
	from, in := io.Pipe()
	source.from, source.keep = from, false
	d := &sideDecoder{in: in, ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		defer from.Close() // later writes fail at once
		defer func() {
			if cause := recover(); cause != nil {
				d.lost = true
				crashed(cause)
			}
		}()
		d.lost = d.decode(decoder, source, seen, scanner)
	}()
	return d
}

// decode reports whether a part of the answer was not decoded.
func (d *sideDecoder) decode(decoder io.Reader, source *tap, seen int, scanner io.Writer) (lost bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := decoder.Read(buf)
		scanner.Write(buf[:n])
		seen += n
		switch {
		case err != nil:
			return !isEnd(err)
		case d.left.Load(), seen > min(decodeAtLeast+decodeRatio*source.count, decodeAtMost):
			return true
		}
	}
}

func (d *sideDecoder) Write(p []byte) (int, error) { return d.in.Write(p) }

// close ends the decoding and reports whether it saw all of the answer. If the whole
// answer has not come, since the caller has left, nothing more is decoded.
func (d *sideDecoder) close(whole bool) (sawAll bool) {
	d.left.Store(!whole)
	d.in.Close()
	<-d.ended
	return !d.lost
}

// isEnd reports whether a decoder met the end of its input, perhaps too early.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// maxHeld bounds what is held back. The scanner decides about plain text before that,
// but an encoded answer may decode to nothing for longer.
const maxHeld = 2 << 20

var errTooLong = errors.New("too much of the answer decodes to nothing")

// A tap is what a decoder reads an answer from. It keeps the bytes that have not
// passed yet.
type tap struct {
	from  io.Reader
	keep  bool
	kept  []byte
	count int
	err   error // of from
}

func (t *tap) Read(p []byte) (int, error) {
	if t.keep && len(t.kept) > maxHeld {
		return 0, errTooLong
	}
	n, err := t.from.Read(p)
	t.count += n
	if t.keep {
		t.kept = append(t.kept, p[:n]...)
		t.err = err
	}
	return n, err
}

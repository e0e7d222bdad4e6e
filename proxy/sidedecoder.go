package proxy

import (
	"io"
	"sync/atomic"
)

// What streams compressed is decoded only as far as it is worth a look: all of
// an answer as portals send them, a little of one that is made to grow. Of the
// rest nothing is known, neither its time nor whether it ends well; who decodes
// it will see.
const (
	lookAtLeast = 4 << 20
	lookAtMost  = 64 << 20
	lookRatio   = 100 // to the bytes as they came; JSON seldom shrinks to a fiftieth
)

// A sideDecoder decodes an answer that streams for its scanner, as fast as the answer
// passes.
type sideDecoder struct {
	in    *io.PipeWriter
	left  atomic.Bool   // the caller has
	ended chan struct{} // closed when the scanner has got all that it gets
	lost  bool          // it did not get all; settled when ended is closed
}

// newSideDecoder goes on decoding where the head of the answer ended. It ends with
// close.
func newSideDecoder(decoder io.Reader, source *tap, seen int, scanner io.Writer) *sideDecoder {
	from, in := io.Pipe()
	source.from, source.keep = from, false
	l := &sideDecoder{in: in, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer from.Close() // what still comes is not wanted
		l.lost = l.decode(decoder, source, seen, scanner)
	}()
	return l
}

// decode reports whether something of the answer was not seen.
func (l *sideDecoder) decode(decoder io.Reader, source *tap, seen int, scanner io.Writer) (lost bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := decoder.Read(buf)
		scanner.Write(buf[:n])
		seen += n
		switch {
		case err != nil:
			return !isEnd(err)
		case l.left.Load(), seen > min(lookAtLeast+lookRatio*source.count, lookAtMost):
			return true
		}
	}
}

func (l *sideDecoder) Write(p []byte) (int, error) { return l.in.Write(p) }

// close ends the look and reports whether it saw all. Without the answer's end,
// where the caller has left, nothing more is decoded.
func (l *sideDecoder) close(whole bool) (sawAll bool) {
	l.left.Store(!whole)
	l.in.Close()
	<-l.ended
	return !l.lost
}

// A tap is where a decoder gets an answer's bytes. It keeps the first ones, which
// have not passed yet.
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

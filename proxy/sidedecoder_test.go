package proxy

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/andybalholm/brotli"
)

// A long answer that is made to grow is decoded within bounds, and passes.
func TestAnswerThatIsMadeToGrow(t *testing.T) {
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd"} {
		t.Run(encoding, func(t *testing.T) {
			bomb := compress(t, encoding, append([]byte(`{"result":"`), bytes.Repeat([]byte(" "), 70<<20)...))
			p := newProxy(t, nil).behind(fixed(200, "application/json", bomb, "Content-Encoding", encoding))
			if w := p.call("POST", deal, ""); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), bomb) {
				t.Errorf("got %d with %d bytes, want 200 with the same %d", w.Code, w.Body.Len(), len(bomb))
			}
			var seen counter
			source := &tap{}
			decoder, _ := decoderOf(map[string][]string{"Content-Encoding": {encoding}}, source)
			l := newSideDecoder(decoder, source, 0, &seen, nil)
			l.Write(bomb)
			if l.close(true) || int(seen) > decodeAtLeast+decodeRatio*len(bomb)+64<<10 || seen > decodeAtMost+64<<10 {
				t.Errorf("got %d bytes of %d decoded, want less than all of what they grow to", seen, len(bomb))
			}
		})
	}
}

// A counter counts the bytes that are written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// Nothing more is decoded when the caller has left.
func TestNothingIsDecodedOnceTheCallerHasLeft(t *testing.T) {
	var seen counter
	endless, source := &zeros{began: make(chan bool)}, &tap{count: 1 << 30}
	l := newSideDecoder(endless, source, 0, &seen, nil)
	<-endless.began
	l.left.Store(true)
	endless.began <- true
	if l.close(false) || seen > 32<<10 {
		t.Errorf("got %d bytes decoded, want at most %d", seen, 32<<10)
	}
}

// zeros never ends. The first read says that it has begun, and waits.
type zeros struct{ began chan bool }

func (z *zeros) Read(p []byte) (int, error) {
	if z.began != nil {
		z.began <- true
		<-z.began
		z.began = nil
	}
	return len(p), nil
}

// BenchmarkBomb has 6 kB of brotli that grow to 4 GiB.
func BenchmarkBomb(b *testing.B) {
	var bomb bytes.Buffer
	w := brotli.NewWriterLevel(&bomb, 5)
	io.WriteString(w, `{"result":"`)
	for range 4 << 10 {
		w.Write(make([]byte, 1<<20))
	}
	w.Close()
	p := newProxy(b, nil).behind(fixed(200, "application/json", bomb.Bytes(), "Content-Encoding", "br"))
	b.Log(fmt.Sprint(bomb.Len(), " bytes"))
	for b.Loop() {
		p.call("POST", "/rest/crm.deal.list", "", "Prefer", "wait=1")
	}
}

// A decoder that panics ends neither the process nor the answer, and is recorded.
func TestDecoderThatPanics(t *testing.T) {
	var seen counter
	var cause any
	l := newSideDecoder(brokenDecoder{}, &tap{}, 0, &seen, func(c any) { cause = c })
	if sawAll := l.close(true); sawAll || cause != "broken table" {
		t.Errorf("got sawAll %v and the cause %v, want false and that of the panic", sawAll, cause)
	}
}

type brokenDecoder struct{}

func (brokenDecoder) Read([]byte) (int, error) { panic("broken table") }

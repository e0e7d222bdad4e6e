package proxy

import "sync"

// buffers are memory that calls use one after another, so that the garbage collector has
// less to do.
type buffers struct {
	size int // of a new one
	most int // bytes of one that is kept
	pool sync.Pool
}

// texts are for the beginnings of answers.
var texts = buffers{size: 4 << 10, most: 64 << 10}

// Get returns a buffer with anything in it.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, b.size)
}

// Put takes back a buffer that nobody uses any more.
func (b *buffers) Put(p []byte) {
	if p = p[:cap(p)]; len(p) <= b.most {
		b.pool.Put(&p)
	}
}

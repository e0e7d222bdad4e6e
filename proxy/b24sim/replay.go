package b24sim

import (
	"crypto/sha256"
	"time"
)

// reply is a stored success of REST 3.0.
type reply struct {
	body    *array
	expires time.Duration // virtual
}

// replies is the store behind Idempotency-Key, as documented: it answers a write
// that is repeated with the same key and body within 24 hours. When it is full,
// the oldest reply is dropped.
type replies struct {
	byKey map[[sha256.Size]byte]reply
	order [][sha256.Size]byte
}

const (
	replyLife  = 24 * time.Hour
	maxReplies = 10_000
)

// once runs a method, or answers from the store. It stores a success when it
// happens, so a repeated call gets an answer that was lost. Nobody knows whether a
// portal makes a second call wait while the first still runs (here both run), or
// how it answers a known key with another body (here it runs that call).
func (x *exchange) once(run func() (*array, *failure)) (*array, *failure) {
	header := x.r.Header["Idempotency-Key"]
	if x.addr.version != 3 || len(header) == 0 || isRead(x.addr.method) {
		return run()
	}
	if !validKey(header[0]) {
		return nil, invalid("Idempotency-Key", "The key must be 1 to 255 printable ASCII characters")
	}
	key := sha256.Sum256([]byte(x.budgetKey(x.addr.method) + "\x00" + header[0] + "\x00" + string(x.body)))
	if stored := x.p.stored(key); stored != nil {
		x.replay = true
		x.p.update(x.call, func(c *Call) { c.Replayed = true })
		return stored, nil
	}
	body, f := run()
	if f == nil {
		x.p.store(key, body)
	}
	return body, f
}

func validKey(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 255
}

func (p *Portal) stored(key [sha256.Size]byte) *array {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.replies.byKey[key]
	if !ok || p.clock.now() >= r.expires {
		return nil
	}
	return r.body
}

func (p *Portal) store(key [sha256.Size]byte, body *array) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.replies
	if s.byKey == nil {
		s.byKey = make(map[[sha256.Size]byte]reply)
	}
	if _, ok := s.byKey[key]; !ok {
		s.order = append(s.order, key)
	}
	s.byKey[key] = reply{body, p.clock.now() + replyLife}
	if len(s.order) > maxReplies {
		delete(s.byKey, s.order[0])
		s.order = s.order[1:]
	}
}

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// errTimeout matches each silentFor.
var errTimeout = errors.New("the portal was silent for too long")

// A silentFor is the cause that ends what took longer than B24PROXY_UPSTREAM_TIMEOUT
// allows.
type silentFor time.Duration

func (s silentFor) Error() string {
	return fmt.Sprintf("silent for %v (B24PROXY_UPSTREAM_TIMEOUT)", time.Duration(s))
}

func (silentFor) Is(target error) bool { return target == errTimeout }

// A silenceTimer ends an attempt whose portal gives no sign of life: it accepts no
// more of the request, or does not answer. Each sign of life restarts the timer.
type silenceTimer struct {
	limit time.Duration

	mu    sync.Mutex
	over  bool
	timer *time.Timer
}

func newSilenceTimer(limit time.Duration, cancel context.CancelCauseFunc) *silenceTimer {
	return &silenceTimer{limit: limit, timer: time.AfterFunc(limit, func() { cancel(silentFor(limit)) })}
}

func (s *silenceTimer) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.timer.Reset(s.limit)
	}
}

// end stops the timer, since the answer has come. net/http may still be writing the
// request, which restarts it no more.
func (s *silenceTimer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
}

// A watchedBody is the body of a request and restarts the silenceTimer with each
// piece: net/http reads the next piece when the portal has accepted the one before.
type watchedBody struct {
	io.ReadCloser
	silence *silenceTimer
}

func (p *watchedBody) Read(buf []byte) (int, error) {
	p.silence.restart()
	return p.ReadCloser.Read(buf)
}

// An idleBody bounds how long each read of an answer waits for the portal, with the
// timer of a silenceTimer that has ended.
type idleBody struct {
	io.ReadCloser
	silence *silenceTimer
}

func (b *idleBody) Read(p []byte) (int, error) {
	b.silence.timer.Reset(b.silence.limit)
	defer b.silence.timer.Stop()
	return b.ReadCloser.Read(p)
}

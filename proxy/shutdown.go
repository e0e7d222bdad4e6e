package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// shutDown ends a server within the drain time. A call that comes now is refused,
// in an answer. Open calls go on for most of the time; then those that still wait for
// a slot are refused, and those that are still with their portal are answered that
// they may have run. When the last one has its answer the listener closes. It returns
// nil if every call had its answer.
func (p *Proxy) shutDown(reason error, log *slog.Logger, server *http.Server, drain time.Duration, cut func()) error {
	began := time.Now()
	idle := p.calls.close()
	p.tunnels.Drain()
	log.Info("stopping", "reason", reason, "drain", drain, "open_calls", p.calls.count())
	p.drain(idle, drain, cut)
	flush(server, min(time.Second, drain/10))
	p.receiver.repeats.flush(min(time.Second, drain/10))
	open := p.calls.count()
	log.Info("stopped", "reason", reason, "after", time.Since(began).Round(time.Millisecond), "uptime", time.Since(p.began).Round(time.Millisecond), "open_calls", open)
	if open > 0 {
		return fmt.Errorf("%d calls were still open at the end of the drain time", open)
	}
	return nil
}

// drain waits until no call is open, for the given time at most. After 7 tenths of it
// no call waits for a slot any more, after 8 tenths none waits for its portal, and no
// tunnel is open.
func (p *Proxy) drain(idle <-chan struct{}, wait time.Duration, cut func()) {
	refuse := time.AfterFunc(wait*7/10, func() {
		p.budgets.Close()
		p.limiter.Close()
	})
	defer refuse.Stop()
	defer time.AfterFunc(wait*8/10, func() {
		p.tunnels.Close()
		cut()
	}).Stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	select {
	case <-idle:
	case <-end.C:
	}
}

// flush closes the listener and waits until the last bytes of the answers are sent,
// for the given time at most: an idle connection is not worth more.
func flush(server *http.Server, wait time.Duration) {
	bound, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	server.Shutdown(bound)
}

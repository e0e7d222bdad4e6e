package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/replay"
)

// answeringSlowly is a portal whose answers take a second for each of their parts.
func answeringSlowly(header http.Header, parts ...string) (h http.Handler, ran *atomic.Int32) {
	ran = new(atomic.Int32)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ran.Add(1)
		maps.Copy(w.Header(), header)
		for _, part := range parts {
			time.Sleep(time.Second)
			w.Write([]byte(part))
		}
	}), ran
}

// The answer that a repetition gets is the portal's, byte for byte, with the headers
// that are of the answer.
func TestReplayIsTheAnswer(t *testing.T) {
	large := `{"result":"` + strings.Repeat("x", 256<<10-len(`{"result":""}`)) + `"}`
	for name, c := range map[string]struct {
		answer string
		header http.Header
	}{
		"a small answer":          {`{"result":1,"time":{"start":1.5}}`, http.Header{"Content-Type": {"application/json"}, "X-Custom": {"a", "b"}, "Set-Cookie": {"c=1"}}},
		"one of 256 kB":           {large, nil},
		"a file":                  {"\x00\x01", http.Header{"Content-Disposition": {"attachment"}}},
		"an answer without bytes": {"", http.Header{"Content-Disposition": {"attachment"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, ran := answeringSlowly(c.header, c.answer)
				p := newProxy(t, guarded).behind(h)
				p.callFor(300*time.Millisecond, "{}")
				w := p.call("POST", deal, "{}")
				wantReplayed(t, w, true)
				if w.Body.String() != c.answer {
					t.Errorf("got %d bytes, want the answer of %d", w.Body.Len(), len(c.answer))
				}
				for name, values := range c.header {
					if got := w.Header()[name]; fmt.Sprint(got) != fmt.Sprint(values) {
						t.Errorf("got %s %q, want %q", name, got, values)
					}
				}
				if ran.Load() != 1 {
					t.Errorf("ran %d times, want once", ran.Load())
				}
			})
		})
	}
}

// A method's own refusal that nobody received is an answer, too. It has the status that
// it would have had for the first caller.
func TestReplayOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ran := answeringSlowly(nil, `{"error":"NOT_ENOUGH","error_description":"no"}`)
		p := newProxy(t, guarded).behind(h)
		p.callFor(300*time.Millisecond, "{}")
		if w := p.call("POST", deal, "{}"); w.Code != 400 || w.Header().Get("Idempotent-Replayed") != "true" || w.Header().Get("B24-Error-Source") != "portal" {
			t.Errorf("got %d %v %s, want the refusal with status 400, replayed", w.Code, w.Header(), w.Body)
		}
		if w := p.call("POST", deal, "{}"); w.Header().Get("Idempotent-Replayed") != "" || ran.Load() != 2 {
			t.Errorf("got %v, ran %d times, want another call", w.Header(), ran.Load())
		}
	})
}

// An answer too large to keep passes to its caller. If that leaves, the repetition is
// told that the call ran.
func TestAnswerTooLargeToKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := `{"result":"` + strings.Repeat("x", 256<<10) + `"}`
		h, ran := answeringSlowly(nil, large)
		p := newProxy(t, guarded).behind(h)
		if w := p.call("POST", deal, "{}"); w.Body.String() != large {
			t.Errorf("got %d bytes, want %d", w.Body.Len(), len(large))
		}
		p.callFor(300*time.Millisecond, "{}")
		wantHeld(t, p.call("POST", deal, "{}"), "it ran, but its answer was too large to keep")
		if ran.Load() != 2 {
			t.Errorf("ran %d times, want twice", ran.Load())
		}
	})
}

// A caller who leaves in the middle of a slow answer leaves its rest to the repetition.
func TestCallerLeavesDuringTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &rawAnswer{parts: []string{`{"result":`, `[1,`, `2]}`}, pause: time.Second}
		p := newProxy(t, guarded)
		p.reverse.Transport.(*transport).sender.base = portal
		p.callFor(1500*time.Millisecond, "{}")
		w := p.call("POST", deal, "{}")
		wantReplayed(t, w, true)
		if w.Body.String() != `{"result":[1,2]}` || portal.ran != 1 {
			t.Errorf("got %s, ran %d times, want the whole answer, once", w.Body, portal.ran)
		}
	})
}

// A caller who leaves in the middle of an answer that is too large to keep may leave after
// the repetition has come.
func TestRepetitionComesDuringALargeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &rawAnswer{parts: slices.Repeat([]string{`{"result":"` + strings.Repeat("x", 8<<10)}, 200), pause: 10 * time.Millisecond}
		p := newProxy(t, guarded)
		p.reverse.Transport.(*transport).sender.base = portal
		var first sync.WaitGroup
		first.Go(func() { p.callFor(time.Second, "{}") })
		time.Sleep(950 * time.Millisecond)
		wantHeld(t, p.call("POST", deal, "{}"), "it ran, but its answer was too large to keep")
		first.Wait()
		if portal.ran != 1 {
			t.Errorf("ran %d times, want once", portal.ran)
		}
	})
}

// rawAnswer is a portal that sends its answer in parts.
type rawAnswer struct {
	parts []string
	pause time.Duration
	ran   int
}

func (a *rawAnswer) RoundTrip(req *http.Request) (*http.Response, error) {
	a.ran++
	req.Body.Close()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: -1, Request: req, Body: &slowBody{parts: a.parts, pause: a.pause, ctx: req.Context()}}, nil
}

type slowBody struct {
	parts []string
	pause time.Duration
	ctx   context.Context
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pause):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	n := copy(p, b.parts[0])
	b.parts = b.parts[1:]
	return n, nil
}

func (b *slowBody) Close() error { return nil }

// What is kept of an answer takes no more memory than the answer is long, if all of it has
// come.
func TestKeptAnswerTakesItsLength(t *testing.T) {
	for _, text := range []string{`{"result":"` + strings.Repeat("x", 3000) + `"}`, `{"result":1}`} {
		resp, _ := examined(text)
		room := replay.New(time.Now(), replay.Config{Window: time.Minute}).Meet(time.Now(), replay.Call{Portal: "acme.bitrix24.com"}).Own
		var kept readAnswer
		err := kept.fill(resp, room)
		if !errors.Is(err, io.EOF) || string(kept.content) != text || cap(kept.content) != len(text)+1 {
			t.Errorf("got %d bytes in %d (%v), want %d and room for the end", len(kept.content), cap(kept.content), err, len(text))
		}
	}
}

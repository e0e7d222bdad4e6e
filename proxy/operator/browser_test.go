package operator_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium with one page, driven by the DevTools
// protocol over a pipe: JSON messages that end with a zero byte.
type browser struct {
	t       *testing.T
	in      io.Writer
	session string

	mu       sync.Mutex
	last     int
	answers  map[int]chan cdpMessage
	gone     chan struct{} // closed when the browser says no more
	problems []string      // what the page's console calls errors
}

type cdpMessage struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// browserPatience bounds each wait for the browser, for slow machines.
const browserPatience = time.Minute

// startBrowser runs a program until the test ends.
func startBrowser(t *testing.T, program string) *browser {
	t.Helper()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--no-proxy-server", "--hide-scrollbars", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: ourOut, answers: make(map[int]chan cdpMessage), gone: make(chan struct{})}
	go b.listen(ourIn)
	t.Cleanup(func() {
		json.NewEncoder(ourOut).Encode(map[string]any{"id": 0, "method": "Browser.close"})
		ourOut.Write([]byte{0})
		stop := time.AfterFunc(browserPatience, func() { cmd.Process.Kill() })
		cmd.Wait()
		stop.Stop()
		ourOut.Close()
		<-b.gone
		ourIn.Close()
		if t.Failed() {
			t.Logf("the browser said\n%s", stderr.Bytes())
		}
	})
	var target struct{ TargetID string }
	b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.do(domain+".enable", nil, nil)
	}
	return b
}

func (b *browser) listen(from io.Reader) {
	defer close(b.gone)
	messages := bufio.NewReader(from)
	for {
		data, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var m cdpMessage
		if err := json.Unmarshal(bytes.TrimRight(data, "\x00"), &m); err != nil {
			b.t.Errorf("the browser says %q: %v", data, err)
			continue
		}
		b.mu.Lock()
		switch {
		case m.ID != 0 && b.answers[m.ID] != nil:
			b.answers[m.ID] <- m
			delete(b.answers, m.ID)
		case m.Method == "Runtime.exceptionThrown", m.Method == "Log.entryAdded":
			b.problems = append(b.problems, string(m.Params))
		}
		b.mu.Unlock()
	}
}

// do sends a command and reads its result.
func (b *browser) do(method string, params map[string]any, result any) {
	b.t.Helper()
	if refused := b.try(method, params, result); refused != nil {
		b.t.Fatalf("%s: %s", method, refused)
	}
}

// try sends a command that the browser may refuse, and reads its result.
func (b *browser) try(method string, params map[string]any, result any) (refused json.RawMessage) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	id, answer := b.last, make(chan cdpMessage, 1)
	b.answers[id] = answer
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	data, err := json.Marshal(message)
	if err == nil {
		_, err = b.in.Write(append(data, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return m.Error
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %s: %v", method, m.Result, err)
			}
		}
	case <-b.gone:
		b.t.Fatalf("%s: the browser has ended", method)
	case <-time.After(browserPatience):
		b.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// eval evaluates an expression in the page and reads its value.
func eval[T any](b *browser, expression string) (value T) {
	b.t.Helper()
	var got struct {
		Result           struct{ Value T }
		ExceptionDetails json.RawMessage
	}
	b.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	return got.Result.Value
}

// until waits in the page for an expression to be true.
func (b *browser) until(expression string) {
	b.t.Helper()
	if !eval[bool](b, fmt.Sprintf(`new Promise((done) => {
		const end = Date.now() + %d;
		const look = () => { if (%s) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 100); };
		look();
	})`, (browserPatience-5*time.Second).Milliseconds(), expression)) {
		b.t.Fatalf("this did not come true: %s\nthe page:\n%s", expression, eval[string](b, "document.body.innerText"))
	}
}

// html is the page's document once it has a part. It is read without JavaScript,
// and again when the page loads meanwhile.
func (b *browser) html(part string) string {
	b.t.Helper()
	for end := time.Now().Add(browserPatience); time.Now().Before(end); {
		var document struct{ Root struct{ NodeID int } }
		b.do("DOM.getDocument", map[string]any{"depth": 0}, &document)
		var outer struct{ OuterHTML string }
		refused := b.try("DOM.getOuterHTML", map[string]any{"nodeId": document.Root.NodeID}, &outer)
		if refused == nil && strings.Contains(outer.OuterHTML, part) {
			return outer.OuterHTML
		}
	}
	b.t.Fatalf("the document never had %s", part)
	return ""
}

// screen sets the size in CSS pixels and the scheme, light or dark.
func (b *browser) screen(width, height int, scheme string) {
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]any{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot keeps a picture of the whole page.
func (b *browser) shoot(folder, name string) {
	b.t.Helper()
	if folder == "" {
		return
	}
	var shot struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

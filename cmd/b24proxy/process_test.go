package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// binary is the program under test.
var binary string

// TestMain builds the program once. When the tests run under the race detector,
// so does the program: a race then makes it exit with a code that is not 0.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "b24proxy-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "b24proxy")
		build := exec.Command("go", "build", "-race="+strconv.FormatBool(underRace()), "-ldflags=-X main.version=v1.2.3", "-o", binary, ".")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func underRace() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// patience bounds every wait of these tests, for slow machines.
const patience = time.Minute

// A process is the running program.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	clients, admin string // its addresses: http://host:port
	exited         chan struct{}

	mu  sync.Mutex
	log bytes.Buffer // its standard error so far
}

var serving = regexp.MustCompile(`clients"?[=:]"?([^" ]+)"?[, ]"?admin"?[=:]"?([^" ]+)`)

// launch runs the program with settings such as "PLAN=standard", on free ports
// unless they name others.
func launch(t *testing.T, settings ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary), exited: make(chan struct{})}
	for _, s := range append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=127.0.0.1:0"}, settings...) {
		p.cmd.Env = append(p.cmd.Env, prefix+s)
	}
	for _, name := range []string{"TMPDIR", "GOGC", "GOMEMLIMIT"} {
		if value, set := os.LookupEnv(name); set {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go p.read(stderr, lines)
	t.Cleanup(p.end)
	select {
	case line := <-lines:
		found := serving.FindStringSubmatch(line)
		p.clients, p.admin = "http://"+found[1], "http://"+found[2]
	case <-p.exited: // wait returns the exit code
	case <-time.After(patience):
		t.Fatalf("got no line with the addresses within %v, want one; the log:\n%s", patience, p.logged())
	}
	return p
}

// read keeps what the program writes, and passes on the line with its
// addresses. It ends with the program.
func (p *process) read(stderr io.Reader, addresses chan<- string) {
	defer close(p.exited)
	for lines := bufio.NewReader(stderr); ; {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.log.WriteString(line)
		p.mu.Unlock()
		if serving.MatchString(line) {
			addresses <- line
		}
		if err != nil {
			break
		}
	}
	p.cmd.Wait()
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// wait waits until the program has ended and returns its exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Errorf("the program still runs after %v, want it to end; the log:\n%s", patience, p.logged())
		p.cmd.Process.Kill()
		<-p.exited
		return -1
	}
}

// end stops a program that a test left running. It must exit with 0.
func (p *process) end() {
	p.t.Helper()
	select {
	case <-p.exited:
	default:
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != 0 {
			p.t.Errorf("got exit code %d, want 0", code)
		}
	}
	if p.t.Failed() {
		p.t.Logf("the program wrote:\n%s", p.logged())
	}
}

// metric returns the sum of a metric's samples that have all the labels, such as
// `outcome="ok"`.
func (p *process) metric(name string, labels ...string) (sum float64) {
	p.t.Helper()
	a := call(p.t, "GET", p.admin+"/metrics", "")
	for line := range strings.Lines(string(a.body)) {
		if after, ok := strings.CutPrefix(line, "b24proxy_"+name); !ok || after[0] != ' ' && after[0] != '{' {
			continue
		}
		has := true
		for _, label := range labels {
			has = has && strings.Contains(line, label)
		}
		if has {
			fields := strings.Fields(line)
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				p.t.Fatalf("%s: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// eventually waits until holds returns true; what says it in words.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("still not after %v: %s", patience, what)
		}
	}
}

// portal serves a simulated portal until the test ends.
func portal(t *testing.T, c b24sim.Config) (*b24sim.Portal, string) {
	t.Helper()
	c.Seed = cmp.Or(c.Seed, 7)
	sim := b24sim.New(c)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return sim, server.URL
}

// fast is a portal of the standard plan at ten times real time; fastPlan is the
// setting that fits it.
var fast = b24sim.Config{Rate: 2, Burst: 50, RefusedCount: true, Speed: 10}

const fastPlan = "PLAN=20/50"

func faults(t *testing.T, texts ...string) []b24sim.Fault {
	t.Helper()
	all := make([]b24sim.Fault, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = b24sim.ParseFault(text); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// An answer is what a client got; err is set when it got none.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// An apiAnswer is the JSON that a client reads.
type apiAnswer struct {
	Result           json.RawMessage
	Error            string
	ErrorDescription string `json:"error_description"`
	Proxy            struct{ Source, Reason, Executed string }
}

func (a answer) json(t *testing.T) (read apiAnswer) {
	t.Helper()
	if err := json.Unmarshal(a.body, &read); err != nil || a.err != nil {
		t.Errorf("got %v, want JSON: %v", a, err)
	}
	return read
}

// String is the answer as failures show it.
func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, a.body)
}

// wantOK fails the test unless the answer is a success.
func (a answer) wantOK(t *testing.T) {
	t.Helper()
	if a.status != http.StatusOK || a.err != nil {
		t.Errorf("got %v, want 200", a)
	}
}

const (
	hook = "/rest/1/hookcode0123456"
	add  = hook + "/crm.deal.add"
)

// call sends one request on its own connection; headers are pairs of name and
// value.
func call(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * patience}
	return callWith(t.Context(), client, method, url, body, headers...)
}

func callWith(ctx context.Context, client *http.Client, method, url, body string, headers ...string) answer {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, content, err}
}

// together makes the calls 0 to n-1 at once and returns their answers.
func together(n int, calls func(i int) answer) <-chan []answer {
	done := make(chan []answer, 1)
	answers := make([]answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i] = calls(i) })
	}
	go func() {
		all.Wait()
		done <- answers
	}()
	return done
}

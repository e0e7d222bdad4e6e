package storetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Redis is a redis-server that a test may stop. It keeps nothing on disk.
type Redis struct {
	URL     string
	address string
	path    string
	dir     string
	more    []string
	command *exec.Cmd
	exited  chan struct{}
}

// StartRedis starts a redis-server on a free port until the test ends, perhaps with more
// arguments, or skips the test where it is not installed.
func StartRedis(tb testing.TB, more ...string) *Redis {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		tb.Fatal("redis-server is not installed; .ci/setup installs it")
	}
	if err != nil {
		tb.Skip("redis-server is not installed")
	}
	r := &Redis{path: path, dir: tb.TempDir(), more: more}
	tb.Cleanup(func() { r.Kill() })
	for range 5 { // somebody else may take the port that was free
		r.address = FreeAddress(tb)
		if r.URL = "redis://" + r.address; r.start(tb) {
			return r
		}
	}
	tb.Fatal("redis-server does not start")
	return nil
}

// FreeAddress returns an address of the loopback interface that nobody has taken.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer free.Close()
	return free.Addr().String()
}

// start reports whether the server answers, and not somebody else.
func (r *Redis) start(tb testing.TB) bool {
	tb.Helper()
	_, port, _ := net.SplitHostPort(r.address)
	r.command = exec.Command(r.path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.dir)
	r.command.Args = append(r.command.Args, r.more...)
	if err := r.command.Start(); err != nil {
		tb.Fatal(err)
	}
	exited, command := make(chan struct{}), r.command
	r.exited = exited
	go func() {
		command.Wait()
		close(exited)
	}()
	for range 3000 {
		if reply, err := r.ask("ping"); err == nil && reply == "PONG" {
			return true
		}
		select {
		case <-exited:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// Kill ends the server at once.
func (r *Redis) Kill() {
	r.command.Process.Kill()
	<-r.exited
}

// Restart starts a server that was killed. It has nothing of what that one had.
func (r *Redis) Restart(tb testing.TB) {
	tb.Helper()
	if !r.start(tb) {
		tb.Fatal("redis-server does not start again")
	}
}

// Signal sends the server a signal.
func (r *Redis) Signal(s syscall.Signal) { r.command.Process.Signal(s) }

// Do has the server run a command whose words have no spaces, and returns its reply.
func (r *Redis) Do(tb testing.TB, words ...string) string {
	tb.Helper()
	reply, err := r.ask(words...)
	if err != nil {
		tb.Fatal(err)
	}
	return reply
}

func (r *Redis) ask(words ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.address, time.Minute)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " "))
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", fmt.Errorf("redis-server: %s", rest)
	case '$':
		length, _ := strconv.Atoi(rest)
		text := make([]byte, max(0, length))
		_, err = io.ReadFull(in, text)
		return string(text), err
	}
	return rest, nil
}

package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"b24proxy/proxy/b24sim"
)

// When the program is killed, nothing is left of a body that was on disk.
func TestNoBodyIsLeftAfterAKill(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	_, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url)
	c, err := net.Dial("tcp", strings.TrimPrefix(p.clients, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n%s", add, strings.Repeat("x", 600_000))
	eventually(t, "the body is on disk", func() bool { return p.metric("spool_bytes") > 0 })
	p.signal(syscall.SIGKILL)
	<-p.exited
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("got the files %v (%v), want none", left, err)
	}
}

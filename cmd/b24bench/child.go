package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A child is a process that serves, of which CPU time and memory are read.
type child struct {
	base  string // its address
	cmd   *exec.Cmd
	stdin io.Closer
}

// startChild starts this program in a role.
func startChild(role, upstream string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, serveArg, role, upstream)}
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.base, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s did not start: %w", role, err)
	}
	c.base = strings.TrimSpace(c.base)
	return c, nil
}

func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Wait()
}

// tick is the unit of CPU times in /proc, the same on all machines with Linux.
const tick = 10 * time.Millisecond

var errNoProc = errors.New("CPU time and memory of a process are read from /proc, which Linux has")

// cpu is the CPU time that the child has used, its user's and the system's.
func (c *child) cpu() (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, errNoProc
	}
	// The name of the program, in brackets, may hold spaces.
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	user, errUser := strconv.Atoi(string(fields[11]))
	system, errSystem := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * tick, errors.Join(errUser, errSystem)
}

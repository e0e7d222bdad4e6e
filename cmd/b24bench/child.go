package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A child is a process that serves, of which CPU time and memory are read.
type child struct {
	base  string // its address
	admin string // for operators; "" if it has none
	cmd   *exec.Cmd
	end   func() // asks it to end
}

// startChild starts this program in a role.
func startChild(role, upstream, plan string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, serveArg, role, upstream, plan)}
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.end = func() { stdin.Close() }
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("%s did not start: %w", role, err)
	}
	c.base, c.admin, _ = strings.Cut(strings.TrimSpace(line), " ")
	return c, nil
}

func (c *child) stop() {
	c.end()
	c.cmd.Wait()
}

// tick is the unit of CPU times in /proc, the same on all machines with Linux.
const tick = 10 * time.Millisecond

var errNoProc = errors.New("CPU time and memory of a process are read from /proc, which Linux has")

// cpu is the CPU time that the child has used, its user's and the system's.
func (c *child) cpu() (time.Duration, error) {
	var ticks int
	for _, pid := range c.pids() {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, errNoProc
		}
		// The name of the program, in brackets, may hold spaces.
		fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
		user, errUser := strconv.Atoi(string(fields[11]))
		system, errSystem := strconv.Atoi(string(fields[12]))
		if err := errors.Join(errUser, errSystem); err != nil {
			return 0, err
		}
		ticks += user + system
	}
	return time.Duration(ticks) * tick, nil
}

// pids are the process and those that it started.
func (c *child) pids() []int {
	own := c.cmd.Process.Pid
	pids := []int{own}
	workers, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", own, own))
	for worker := range strings.FieldsSeq(string(workers)) {
		if pid, err := strconv.Atoi(worker); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// memory is how many bytes the child holds.
func (c *child) memory() (bytes int64) {
	for _, pid := range c.pids() {
		content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(content)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			bytes += pages * int64(os.Getpagesize())
		}
	}
	return bytes
}

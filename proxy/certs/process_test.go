package certs

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestChild is not a test: the tests below start it as another process. It opens
// the CA in a folder, is killed instead of its Nth renaming, and prints what
// signs.
func TestChild(t *testing.T) {
	if flag.NArg() != 2 {
		return
	}
	killAt, _ := strconv.Atoi(flag.Arg(1))
	renamed := 0
	rename := func(from, to string) error {
		if renamed++; renamed == killAt {
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
			select {}
		}
		return os.Rename(from, to)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ca, err := open(opener{folder: folder{flag.Arg(0), rename, log}, names: listed, systemRoots: systemRoots, log: log})
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.Write(append(ca.RootPEM(), encodeCertificate(ca.authority.Load().issuing)...))
	os.Exit(0)
}

func child(t *testing.T, dir string, killAt int) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "--", dir, strconv.Itoa(killAt))
}

// Processes that start at the same moment in an empty place make one CA.
func TestProcessesAtOnce(t *testing.T) {
	dir := newDir(t)
	children, said := make([]*exec.Cmd, 4), make([]bytes.Buffer, 4)
	for i := range children {
		children[i] = child(t, dir, 0)
		children[i].Stdout = &said[i]
		if err := children[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range children {
		if err := c.Wait(); err != nil || said[i].Len() == 0 || said[i].String() != said[0].String() {
			t.Errorf("process %d: got %s (%v), want the same as the first: %s", i, &said[i], err, &said[0])
		}
	}
	ca, log := openTest(t, dir, listed)
	if log.String() != "" || !bytes.HasPrefix(said[0].Bytes(), ca.RootPEM()) {
		t.Errorf("got another CA, want the one that they made; log: %s", log)
	}
}

// Whenever a process is killed while it makes or renews a CA, the next one
// completes what is there, and no key is left in a draft.
func TestKilledAtEveryStep(t *testing.T) {
	whole := newDir(t)
	openTest(t, whole, listed)
	for _, c := range []struct {
		name    string
		renames int
		begin   func() string
	}{
		{"a new CA", 5, func() string { return newDir(t) }},
		{"another issuing certificate", 2, func() string { return copyFolder(t, whole, issuingKey) }},
		{"a renewed root", 2, func() string { return copyFolder(t, whole, rootCert) }},
	} {
		for n := 1; n <= c.renames; n++ {
			t.Run(fmt.Sprint(c.name, ", file ", n), func(t *testing.T) {
				dir := c.begin()
				if out, err := child(t, dir, n).CombinedOutput(); err == nil {
					t.Fatalf("got the end of the process: %s, want it killed", out)
				}
				drafts, _ := filepath.Glob(filepath.Join(dir, "*"+unfinished))
				if len(drafts) != 1 {
					t.Fatalf("got the drafts %v, want that of the file that was written", drafts)
				}
				before, _ := os.ReadFile(filepath.Join(dir, rootCert))
				ca, _ := openTest(t, dir, listed)
				works(t, ca)
				if before != nil && !bytes.Equal(ca.RootPEM(), before) {
					t.Error("got another root, want the one that was there after the kill")
				}
				if drafts, _ := filepath.Glob(filepath.Join(dir, "*"+unfinished)); drafts != nil {
					t.Errorf("got the drafts %v, want none", drafts)
				}
			})
		}
		dir := c.begin()
		if out, err := child(t, dir, c.renames+1).CombinedOutput(); err != nil {
			t.Errorf("%s: got %s (%v), want that it takes %d files", c.name, out, err, c.renames)
		}
	}
}

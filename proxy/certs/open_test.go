package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// copyFolder returns a copy of a folder, without the named files.
func copyFolder(t *testing.T, dir string, without ...string) string {
	t.Helper()
	to := newDir(t)
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(without, e.Name()) {
			info, _ := e.Info()
			put(t, to, e.Name(), contents(t, dir, e.Name()), info.Mode())
		}
	}
	return to
}

func contents(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func put(t *testing.T, dir, name string, text []byte, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	os.Remove(path)
	if err := os.WriteFile(path, text, mode); err != nil {
		t.Fatal(err)
	}
}

// works checks that a CA signs what clients of its root verify.
func works(t *testing.T, ca *CA) {
	t.Helper()
	if err := verify(ca.authority.Load().root, certificate(t, ca, "acme.bitrix24.com"), "acme.bitrix24.com"); err != nil {
		t.Errorf("got %v, want a certificate that a client verifies", err)
	}
}

// A new CA has its folder for itself, its keys are the owner's alone, and
// bundle.pem has the system's roots and its own.
func TestNewFolder(t *testing.T) {
	dir := newDir(t)
	system := filepath.Join(t.TempDir(), "system.pem")
	other, _ := openTest(t, newDir(t), listed)
	put(t, filepath.Dir(system), "system.pem", append([]byte("# comment\n"), bytes.TrimSpace(other.RootPEM())...), 0o644)
	log := new(record)
	ca, err := open(opener{folder: folder{dir, os.Rename, log.log()}, names: listed, systemRoots: []string{"/missing", system}, log: log.log()})
	if err != nil {
		t.Fatal(err)
	}
	works(t, ca)
	for name, want := range map[string]fs.FileMode{".": 0o700 | fs.ModeDir, rootCert: 0o644, rootKey: 0o600, issuingCert: 0o644, issuingKey: 0o600, bundleFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v (%v), want the mode %v", name, info.Mode(), err, want)
		}
	}
	if got := contents(t, dir, rootCert); !bytes.Equal(got, ca.RootPEM()) {
		t.Errorf("got %s in root.pem, want the root", got)
	}
	if got, want := string(contents(t, dir, bundleFile)), "# comment\n"+string(other.RootPEM())+string(ca.RootPEM()); got != want {
		t.Errorf("got %s in bundle.pem, want %s", got, want)
	}
	if strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "made a root certificate; clients must trust it") {
		t.Errorf("got the log %s, want a line for each certificate that was made", log)
	}
	if got := ca.String(); got != "CA in "+dir {
		t.Errorf("got the name %q", got)
	}
}

// The root can be read without opening the CA; where there is none, or what is
// there is not one, an error says so.
func TestReadRoot(t *testing.T) {
	dir := newDir(t)
	if _, err := ReadRoot(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got the error %v, want %v and where", err, fs.ErrNotExist)
	}
	ca, _ := openTest(t, dir, listed)
	if got, err := ReadRoot(dir); err != nil || !bytes.Equal(got, ca.RootPEM()) {
		t.Errorf("got %s (%v), want the root", got, err)
	}
	put(t, dir, rootCert, contents(t, dir, rootKey), 0o644)
	if got, err := ReadRoot(dir); got != nil || err == nil || !strings.Contains(err.Error(), "root.pem is damaged") {
		t.Errorf("got %s (%v), want an error: a key in place of the root must not be printed", got, err)
	}
}

// After a restart the CA is the same, and says nothing. A change of the system's
// roots is taken over.
func TestRestart(t *testing.T) {
	dir := newDir(t)
	first, _ := openTest(t, dir, listed)
	put(t, dir, bundleFile, []byte("old"), 0o644)
	second, log := openTest(t, dir, listed)
	if a, b := first.authority.Load(), second.authority.Load(); !a.root.Equal(b.root) || !a.issuing.Equal(b.issuing) || !a.key.private.Equal(b.key.private) {
		t.Error("got another CA after a restart, want the same")
	}
	if log.String() != "" {
		t.Errorf("got the log %s, want nothing", log)
	}
	if !bytes.HasSuffix(contents(t, dir, bundleFile), first.RootPEM()) {
		t.Error("got the old bundle.pem, want it written anew")
	}
	works(t, second)
}

// A folder from which files are missing is completed where the keys for that are
// there: with the same root, or with one of the same key and name. Otherwise the
// error says what to do. Nothing that is there is replaced without a line in the
// log.
func TestIncompleteFolder(t *testing.T) {
	whole, alien := newDir(t), newDir(t)
	first, _ := openTest(t, whole, listed)
	openTest(t, alien, listed)
	old := first.authority.Load()
	for _, c := range []struct {
		name              string
		without           []string
		from              []string // files of another CA
		names             Names
		fails, logs       string
		newRoot, newIssue bool
	}{
		{name: "the root's key is kept elsewhere", without: []string{rootKey}},
		{name: "no bundle", without: []string{bundleFile}},
		{name: "no lock", without: []string{lockName}},
		{name: "the root is renewed", without: []string{rootCert}, logs: "made a root certificate", newRoot: true},
		{name: "the root is renewed with other names", without: []string{rootCert}, names: Names{Hosts: []string{"acme.bitrix24.com"}}, logs: "name constraints of root.pem", newRoot: true, newIssue: true},
		{name: "no issuing certificate", without: []string{issuingCert}, logs: "there is no issuing.pem", newIssue: true},
		{name: "no issuing key", without: []string{issuingKey}, logs: "there is no issuing.key", newIssue: true},
		{name: "neither of them", without: []string{issuingCert, issuingKey}, logs: "there is no issuing.pem", newIssue: true},
		{name: "another issuing key", from: []string{issuingKey}, logs: "issuing.key is not the key of issuing.pem", newIssue: true},
		{name: "another issuing pair", from: []string{issuingCert, issuingKey}, logs: "not signed by root.pem", newIssue: true},
		{name: "no root at all", without: []string{rootCert, rootKey}, fails: "put root.pem back, or move issuing.pem away"},
		{name: "the key of another root", from: []string{rootKey}, fails: "root.key is not the key of root.pem; put the right one there"},
		{name: "no issuing pair and no root key", without: []string{rootKey, issuingCert}, fails: "there is no issuing.pem, and another cannot be made without root.key; put root.key back"},
		{name: "another root certificate without its key", without: []string{rootKey}, from: []string{rootCert}, fails: "not signed by root.pem, and another cannot be made without root.key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyFolder(t, whole, c.without...)
			for _, name := range c.from {
				put(t, dir, name, contents(t, alien, name), 0o600)
			}
			if c.names.Hosts == nil {
				c.names = listed
			}
			log := new(record)
			ca, err := Open(dir, c.names, log.log())
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got the error %v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatalf("got the error %v, want none", err)
			}
			works(t, ca)
			if c.logs == "" && log.String() != "" || !strings.Contains(log.String(), c.logs) {
				t.Errorf("got the log %s, want %q", log, c.logs)
			}
			now := ca.authority.Load()
			if got := !now.root.Equal(old.root); got != c.newRoot || !bytes.Equal(now.root.RawSubject, old.root.RawSubject) || !bytes.Equal(now.root.SubjectKeyId, old.root.SubjectKeyId) {
				t.Errorf("got another root: %v, want %v, with the same key and name", got, c.newRoot)
			}
			if got := !now.issuing.Equal(old.issuing); got != c.newIssue {
				t.Errorf("got another issuing certificate: %v, want %v", got, c.newIssue)
			}
			if err := verify(old.root, certificate(t, ca, "acme.bitrix24.com"), "acme.bitrix24.com"); err != nil {
				t.Errorf("got %v, want that clients which trust the old root need not do anything", err)
			}
			if _, log := openTest(t, dir, c.names); log.String() != "" {
				t.Errorf("got the log %s at the next start, want nothing", log)
			}
		})
	}
}

// A root that another program made, or that is not a root, is refused.
func TestForeignRoot(t *testing.T) {
	whole := newDir(t)
	ca, _ := openTest(t, whole, listed)
	k, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	template := newCA("root", k, time.Now(), 1)
	unconstrained, err := issue(template, template, k, k)
	if err != nil {
		t.Fatal(err)
	}
	template.PermittedIPRanges = loopback
	anyName, err := issue(template, template, k, k)
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range map[string]*x509.Certificate{
		"an issuing certificate":                ca.authority.Load().issuing,
		"a root without constraints":            unconstrained,
		"a root that constrains only addresses": anyName,
	} {
		dir := copyFolder(t, whole, rootKey)
		put(t, dir, rootCert, encodeCertificate(root), 0o644)
		if _, err := Open(dir, listed, new(record).log()); err == nil || !strings.Contains(err.Error(), "is not the root of a CA that b24proxy made") {
			t.Errorf("%s: got the error %v, want that it is not one of ours", name, err)
		}
	}
}

// A damaged file is refused, left as it is, and named in an error that says what
// to do and quotes nothing of it.
func TestDamagedFiles(t *testing.T) {
	whole := newDir(t)
	openTest(t, whole, listed)
	for _, name := range []string{rootCert, rootKey, issuingCert, issuingKey} {
		text := contents(t, whole, name)
		key := contents(t, whole, rootKey)
		for what, damaged := range map[string][]byte{
			"empty":           {},
			"half":            text[:len(text)/2],
			"twice":           append(slices.Clone(text), text...),
			"not PEM":         []byte("s3cret"),
			"of another kind": []byte("-----BEGIN S3CRET-----\nczNjcmV0\n-----END S3CRET-----\n"),
			"not DER":         []byte(strings.Replace(string(text), "M", "A", 1)),
			"too long":        bytes.Repeat([]byte("s3cret\n"), maxFile/7+1),
			"key and more":    append(slices.Clone(key), key...),
		} {
			t.Run(name+" is "+what, func(t *testing.T) {
				dir := copyFolder(t, whole)
				put(t, dir, name, damaged, 0o600)
				_, err := Open(dir, listed, new(record).log())
				if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "; "+remedies[name]) {
					t.Fatalf("got the error %v, want one that names the file and says what to do", err)
				}
				if strings.Contains(strings.ToLower(err.Error()), "s3cret") || strings.Contains(err.Error(), string(key[30:60])) {
					t.Errorf("got the error %v, want nothing of the file in it", err)
				}
				if !bytes.Equal(contents(t, dir, name), damaged) {
					t.Error("got another file, want the damaged one left as it is")
				}
			})
		}
	}
}

// A file is read up to its bound, and refused beyond it.
func TestLongestFile(t *testing.T) {
	f := folder{t.TempDir(), os.Rename, new(record).log()}
	for size, want := range map[int]bool{9: true, 10: true, 11: false, 1000: false} {
		put(t, f.path, "file", make([]byte, size), 0o600)
		if text, err := f.read("file", 10); (err == nil) != want || want && len(text) != size {
			t.Errorf("%d bytes of 10: got %d bytes and the error %v, want success: %v", size, len(text), err, want)
		}
	}
}

// A symbolic link or a directory in place of a file is refused, and so is a
// folder that is a link, a file, or in a place that does not exist.
func TestNotFiles(t *testing.T) {
	whole := newDir(t)
	openTest(t, whole, listed)
	for _, name := range []string{rootCert, rootKey, issuingCert, issuingKey, bundleFile, lockName} {
		dir := copyFolder(t, whole, name)
		target := filepath.Join(t.TempDir(), "target")
		put(t, filepath.Dir(target), "target", contents(t, whole, name), 0o600)
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, listed, new(record).log()); err == nil || !strings.Contains(err.Error(), name+" is a symbolic link") {
			t.Errorf("%s: got the error %v, want that it is a symbolic link", name, err)
		}
		dir = copyFolder(t, whole, name)
		os.Mkdir(filepath.Join(dir, name), 0o700)
		if _, err := Open(dir, listed, new(record).log()); err == nil || !strings.Contains(err.Error(), name+" is not a regular file") {
			t.Errorf("%s: got the error %v, want that it is not a regular file", name, err)
		}
	}
	link := newDir(t)
	os.Symlink(whole, link)
	for path, want := range map[string]string{
		link:                            "is a symbolic link",
		filepath.Join(whole, rootCert):  "is not a folder",
		filepath.Join(whole, "a", "ca"): "no such file or directory",
	} {
		if _, err := Open(path, listed, new(record).log()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v, want %q", path, err, want)
		}
	}
}

// An empty folder becomes the CA's own; one that holds something keeps its mode,
// with a warning if other users can write to it. So do files.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		name       string
		mode, want fs.FileMode
		filled     bool
		warning    string
	}{
		{"an empty folder", 0o755, 0o700, false, ""},
		{"an empty folder that others write to", 0o777, 0o700, false, ""},
		{"a folder that others read", 0o755, 0o755, true, ""},
		{"a folder that others write to", 0o775, 0o775, true, "can write to its folder"},
		{"a folder of the owner alone", 0o700, 0o700, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.filled {
				put(t, dir, "state", nil, 0o600)
			}
			os.Chmod(dir, c.mode)
			_, log := openTest(t, dir, listed)
			if info, _ := os.Stat(dir); info.Mode().Perm() != c.want {
				t.Errorf("got the mode %v, want %v", info.Mode().Perm(), c.want)
			}
			if warned := strings.Contains(log.String(), "level=WARN"); warned != (c.warning != "") || !strings.Contains(log.String(), c.warning) {
				t.Errorf("got the log %s, want the warning %q", log, c.warning)
			}
		})
	}
	for name, mode := range map[string]fs.FileMode{rootKey: 0o640, issuingKey: 0o604, rootCert: 0o664, issuingCert: 0o646} {
		dir := newDir(t)
		openTest(t, dir, listed)
		os.Chmod(filepath.Join(dir, name), mode)
		if _, log := openTest(t, dir, listed); strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), name) {
			t.Errorf("%s with the mode %v: got the log %s, want one warning", name, mode, log)
		}
	}
}

// A list of portals that the CA does not permit is reported at the start, with
// what to do; the CA signs for the others.
func TestListThatDoesNotFit(t *testing.T) {
	dir := newDir(t)
	openTest(t, dir, listed)
	more := Names{Zones: append(slices.Clone(listed.Zones), "example.net"), Hosts: append(slices.Clone(listed.Hosts), "shop.example.org", "x.crm.example.org")}
	ca, log := openTest(t, dir, more)
	if !strings.Contains(log.String(), `hosts="[example.net shop.example.org]"`) || !strings.Contains(log.String(), "move root.pem away") {
		t.Errorf("got the log %s, want a warning with the hosts that are not permitted", log)
	}
	works(t, ca)
	certificate(t, ca, "x.crm.example.org")
	for _, host := range []string{"shop.example.org", "a.example.net"} {
		if _, err := ca.Certificate(host); err == nil || !strings.Contains(err.Error(), "move root.pem away") {
			t.Errorf("%s: got the error %v, want one that says what to do", host, err)
		}
	}
	os.Remove(filepath.Join(dir, rootCert))
	ca, _ = openTest(t, dir, more)
	certificate(t, ca, "shop.example.org")
}

// A line of the log lists ten hosts at most, and how many more there are.
func TestFew(t *testing.T) {
	for n, want := range map[int]int{0: 0, 10: 10, 11: 11, 12: 11} {
		got := few(make([]string, n))
		more := fmt.Sprintf("and %d more", n-10)
		if len(got) != want || n > 10 && got[10] != more || n == 10 && got[9] != "" {
			t.Errorf("%d hosts: got %q, want ten at most, and how many more", n, got)
		}
	}
}

// Without the root's key a CA works until its issuing certificate ends, warns
// each day in the last third, and is renewed when the key is back.
func TestRootKeyElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := newDir(t)
		openTest(t, dir, listed)
		key := contents(t, dir, rootKey)
		os.Remove(filepath.Join(dir, rootKey))
		ca, log := openTest(t, dir, listed)
		go ca.Renew(t.Context())
		issuing := ca.authority.Load().issuing
		time.Sleep(time.Until(dueAt(issuing)))
		if log.String() != "" {
			t.Errorf("got the log %s, want nothing in the first two thirds", log)
		}
		time.Sleep(10 * checkEvery)
		synctest.Wait()
		if n := strings.Count(log.String(), "put root.key back and restart before the certificate ends"); n != 10 {
			t.Errorf("got %d warnings in ten days, want 10", n)
		}
		works(t, ca)
		time.Sleep(time.Until(issuing.NotAfter) + checkEvery + time.Second)
		synctest.Wait()
		if _, err := ca.Certificate("acme.bitrix24.com"); err == nil || !strings.Contains(err.Error(), "put root.key into the folder") {
			t.Errorf("got the error %v, want one that says what to do", err)
		}
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("got the log %s, want an error when the certificate has ended", log)
		}
		if _, err := Open(dir, listed, log.log()); err == nil || !strings.Contains(err.Error(), "issuing.pem ended on") || !strings.Contains(err.Error(), "put root.key back") {
			t.Errorf("got the error %v, want one that says what to do", err)
		}
		put(t, dir, rootKey, key, 0o600)
		time.Sleep(checkEvery)
		synctest.Wait()
		works(t, ca)
	})
}

// A clock that is set before the CA was made is reported, and nothing replaced.
func TestClockIsWrong(t *testing.T) {
	dir := newDir(t)
	openTest(t, dir, listed)
	synctest.Test(t, func(t *testing.T) { // starts in 2000
		if _, err := Open(dir, listed, new(record).log()); err == nil || !strings.Contains(err.Error(), "is the clock of this machine right?") {
			t.Errorf("got the error %v, want one about the clock", err)
		}
	})
}

// A process that holds the lock is waited for, but not for ever.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := newDir(t)
		openTest(t, dir, listed)
		log := new(record)
		release, err := (folder{dir, os.Rename, log.log()}).lock()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := Open(dir, listed, log.log()); !errors.Is(err, errLocked) || time.Since(start) < lockWait || time.Since(start) > 2*lockWait {
			t.Errorf("got the error %v after %v, want %v after %v", err, time.Since(start), errLocked, lockWait)
		}
		time.AfterFunc(lockWait/2, func() { release() })
		openTest(t, dir, listed)
	})
}

// When the disk fails, Open says so.
func TestDiskFails(t *testing.T) {
	full := errors.New("no space left on device")
	for n := range 5 {
		log := new(record)
		renamed := 0
		rename := func(from, to string) error {
			if renamed++; renamed > n {
				return full
			}
			return os.Rename(from, to)
		}
		dir := newDir(t)
		if _, err := open(opener{folder: folder{dir, rename, log.log()}, names: listed, log: log.log()}); !errors.Is(err, full) {
			t.Errorf("file %d: got the error %v, want %v", n, err, full)
		}
		ca, _ := openTest(t, dir, listed)
		works(t, ca)
	}
}

package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// The files of a CA.
const (
	rootCert    = "root.pem"
	rootKey     = "root.key"
	issuingCert = "issuing.pem"
	issuingKey  = "issuing.key"
	bundleFile  = "bundle.pem"
	lockName    = "lock"
)

// unfinished is appended to the name of a file while it is written.
const unfinished = ".new"

const (
	maxFile        = 256 << 10 // of a certificate or a key
	maxSystemRoots = 4 << 20   // Debian's take 220 kB
	maxBundle      = 8 << 20
	lockWait       = 10 * time.Second // others hold the lock for some milliseconds
	lockPoll       = 20 * time.Millisecond
)

const (
	ownerOnly      fs.FileMode = 0o700
	othersMayWrite fs.FileMode = 0o022
	othersMayRead  fs.FileMode = 0o077 // or write
)

// A folder is where the files of a CA are.
type folder struct {
	path   string
	rename func(from, to string) error // os.Rename
	log    *slog.Logger
}

func (f folder) file(name string) string { return filepath.Join(f.path, name) }

// prepare makes the folder if it is missing. An empty one becomes the CA's own.
func (f folder) prepare() error {
	if err := os.Mkdir(f.path, ownerOnly); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(f.path)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0: // whoever made the link chooses where the keys are
		return errors.New("it is a symbolic link; name the folder itself")
	case !info.IsDir():
		return errors.New("it is not a folder")
	}
	if f.isEmpty() && os.Chmod(f.path, ownerOnly) == nil {
		return nil
	}
	if info.Mode().Perm()&othersMayWrite != 0 {
		f.log.Warn("users other than its owner can replace the CA, since they can write to its folder; take the right away (chmod 700)",
			"folder", f.path, "mode", info.Mode().Perm().String())
	}
	return nil
}

func (f folder) isEmpty() bool {
	entries, err := os.ReadDir(f.path)
	return err == nil && len(entries) == 0
}

// lock keeps other processes from the files until it is released. A process that
// ends releases it.
func (f folder) lock() (release func() error, err error) {
	if err := f.check(lockName); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.file(lockName), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockPoll) {
		switch err := tryLock(file); {
		case err == nil:
			return file.Close, nil
		case !errors.Is(err, errLocked) || time.Now().After(deadline):
			file.Close()
			return nil, fmt.Errorf("locking it: %w", err)
		}
	}
}

var errLocked = fmt.Errorf("another process has held the lock for %v; end it if it hangs", lockWait)

// tidy removes what a killed process was writing.
func (f folder) tidy() {
	for _, name := range []string{rootCert, rootKey, issuingCert, issuingKey, bundleFile} {
		os.Remove(f.file(name + unfinished)) // writeThrough fails if it is still there
	}
}

// read returns what is in a file, nil if it is missing.
func (f folder) read(name string, most int64) ([]byte, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.file(name), os.O_RDONLY|noFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes; %s", name, most, remedies[name])
	}
	return text, err
}

// check refuses what cannot be a file of a CA, and warns of files that other
// users may read or write.
func (f folder) check(name string) error {
	info, err := os.Lstat(f.file(name))
	if err != nil {
		return nil // opening says why
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; put the file itself there", name)
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", name)
	case filepath.Ext(name) == ".key" && mode.Perm()&othersMayRead != 0:
		f.log.Warn("users other than its owner can read or replace a key of the CA; take the right away (chmod 600)", "file", f.file(name), "mode", mode.Perm().String())
	case mode.Perm()&othersMayWrite != 0:
		f.log.Warn("users other than its owner can replace a certificate of the CA; take the right away (chmod go-w)", "file", f.file(name), "mode", mode.Perm().String())
	}
	return nil
}

// write replaces a file. Whenever the process or the machine stops, the old file
// is there or the new one, whole.
func (f folder) write(name string, text []byte, mode fs.FileMode) error {
	draft := f.file(name + unfinished)
	if err := writeThrough(draft, text, mode); err != nil {
		return err
	}
	if err := f.rename(draft, f.file(name)); err != nil {
		return err
	}
	f.sync()
	return nil
}

// writeThrough makes a file and writes it through to the disk.
func writeThrough(path string, text []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// sync writes the names of the files through to the disk. Not every file system
// can. Where it cannot, a crash of the machine may undo what was renamed last,
// and the next start completes that.
func (f folder) sync() {
	if dir, err := os.Open(f.path); err == nil {
		dir.Sync()
		dir.Close()
	}
}

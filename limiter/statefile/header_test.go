package statefile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The key stays with the file. A file of an older version gets one, and so does a new
// file, each its own.
func TestKeyStaysWithTheFile(t *testing.T) {
	key := func(path string) []byte {
		s := openTest(t, path, 0)
		defer s.Close()
		return s.Key()
	}
	var all [][]byte
	for name, text := range map[string][]byte{"new": nil, "version 1": seal(headerText1), "version 2": seal(headerText2), "version 3": headerOf(headerText3, []byte("a key of thirty-two bytes, random"[:keySize]))} {
		path := filepath.Join(t.TempDir(), "state")
		if text != nil {
			os.WriteFile(path, text, 0o600)
		}
		first := key(path)
		if len(first) != keySize || !bytes.Equal(first, key(path)) {
			t.Errorf("%s: got %x, then %x, want one key of %d bytes", name, first, key(path), keySize)
		}
		for _, other := range all {
			if bytes.Equal(first, other) {
				t.Errorf("%s: got the key of another file, want one of its own", name)
			}
		}
		all = append(all, first)
	}
}

// A header whose key is not as it was written is not a header.
func TestHeaderWithADamagedKey(t *testing.T) {
	whole := header(newKey())
	if _, isHeader := readHeader(whole); !isHeader {
		t.Error("a whole header was not read")
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		if key, isHeader := readHeader(damaged); isHeader {
			t.Errorf("byte %d: got the key %x, want none", i, key)
		}
		if key, isHeader := readHeader(whole[:i]); isHeader {
			t.Errorf("the first %d bytes: got the key %x, want none", i, key)
		}
	}
	if _, isHeader := readHeader(seal(headerText + "A0")); isHeader {
		t.Error("a short key was read")
	}
}

package statefile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
)

// The headers of all versions. Since version 3 it ends with a key in hexadecimal, and
// since version 4 there are notes.
const (
	headerText  = "b24proxy state, version 4: when each portal's bucket will be full again, when that was written, calls per second; or a note, until when, of which write that may have run. Key of the names that stand for credentials: "
	headerText3 = "b24proxy state, version 3: when each portal's bucket will be full again, when that was written, calls per second. Key of the names that stand for credentials: "
	headerText2 = "b24proxy state, version 2: when each portal's bucket will be full again, when that was written, calls per second"
	headerText1 = "b24proxy state, version 1: when each portal's bucket will be full again"
)

const keySize = 32

// header is the first line of the file.
func header(key []byte) []byte { return headerOf(headerText, key) }

func headerOf(text string, key []byte) []byte { return seal(text + hex.EncodeToString(key)) }

// readHeader returns the key of a header, nil for one of a version without a key. It
// reports whether the line is a header that can be read.
func readHeader(line []byte) (key []byte, isHeader bool) {
	if bytes.Equal(line, seal(headerText2)) || bytes.Equal(line, seal(headerText1)) {
		return nil, true
	}
	for _, text := range []string{headerText, headerText3} {
		encoded, isOf := bytes.CutPrefix(line, []byte(text))
		if !isOf || len(encoded) < hex.EncodedLen(keySize) {
			continue
		}
		key, err := hex.DecodeString(string(encoded[:hex.EncodedLen(keySize)]))
		return key, err == nil && bytes.Equal(line, headerOf(text, key))
	}
	return nil, false
}

// newKey makes a key that nobody knows.
func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails, says its documentation
	return key
}

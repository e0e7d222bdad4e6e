package joining

import (
	"encoding/json"
	"strconv"
	"strings"
)

// A Batch is a request that carries reads: a POST with a JSON body.
type Batch struct {
	Path  string
	Query string // raw, without a question mark
	Body  []byte
}

func (Batch) String() string { return "batch" }

// Encode puts reads of one group in one batch. The keys of the commands begin with a
// letter, since keys from 0 on would come back as JSON lists
// (proxy/bitrix24/README.md#batch-of-version-2). Commands are ASCII without quotation
// marks and backslashes, so they stand in JSON as they are.
func Encode(reads []Read) Batch {
	c := reads[0].carrier
	var b strings.Builder
	b.WriteByte('{')
	if c.tokenName != "" {
		b.WriteString(quoted(c.tokenName) + ":" + quoted(c.token) + ",")
	}
	b.WriteString(`"halt":0,"cmd":{`)
	for i, r := range reads {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + key(i) + `":"` + r.command + `"`)
	}
	b.WriteString("}}")
	return Batch{Path: c.path, Query: c.query, Body: []byte(b.String())}
}

// key names the command at a position.
func key(i int) string { return "c" + strconv.Itoa(i) }

// isKeyOf reports whether a key names one of n commands.
func isKeyOf(n int, name string) bool {
	i, err := strconv.Atoi(strings.TrimPrefix(name, "c"))
	return err == nil && 0 <= i && i < n && name == key(i)
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // never fails for a string
	return string(b)
}

// escaped encodes a key or a value for a query.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if isUnreserved(s[i]) {
			b.WriteByte(s[i])
		} else {
			writeEscaped(&b, s[i])
		}
	}
	return b.String()
}

func writeEscaped(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.Write([]byte{'%', digits[c>>4], digits[c&15]})
}

// isUnreserved reports whether a byte stands for itself in a query (RFC 3986, 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0
}

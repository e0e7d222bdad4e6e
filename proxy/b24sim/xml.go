package b24sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strconv"
)

// appendXML writes value as the portal does: without a prolog, each key as an
// element, and a number as the element <item>. It does not check keys, so an odd
// name of a batch command makes the XML invalid, as it does there.
func appendXML(dst []byte, name string, value any) []byte {
	if _, err := strconv.Atoi(name); err == nil {
		name = "item"
	}
	dst = append(dst, "<"+name+">"...)
	switch v := value.(type) {
	case *array:
		for _, key := range v.keys {
			dst = appendXML(dst, key, v.values[key])
		}
	case nil:
	case bool:
		if v {
			dst = append(dst, '1') // false is written as nothing, as PHP does
		}
	case json.RawMessage:
		dst = appendXMLText(dst, string(v))
	default:
		dst = appendXMLText(dst, fmt.Sprint(v))
	}
	return append(dst, "</"+name+">"...)
}

func appendXMLText(dst []byte, s string) []byte {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer does not fail
	return append(dst, b.Bytes()...)
}

package proxy

import (
	"bytes"
	"encoding/gob"
	"io"
	"net/http"

	"b24proxy/proxy/bitrix24"
)

// A sharedAnswer is a readAnswer on its way to another replica. Gob keeps each byte of
// a header, whatever it is.
type sharedAnswer struct {
	Status  int
	Header  http.Header
	Content []byte
	Kind    bitrix24.Kind
}

// encodeAnswer encodes the answer that is kept of a write.
func encodeAnswer(kept any) []byte {
	a := kept.(*readAnswer)
	var b bytes.Buffer
	if gob.NewEncoder(&b).Encode(sharedAnswer{a.status, a.header, a.content, a.meaning.Kind}) != nil {
		return nil
	}
	return b.Bytes()
}

// keptAnswer returns the answer that is kept for the repetition of a call, here or by
// another replica. It is nil if there is none.
func keptAnswer(kept any, req *http.Request, call bitrix24.Call) *readAnswer {
	switch a := kept.(type) {
	case *readAnswer:
		return a
	case []byte:
		return decodeAnswer(a, req, call)
	}
	return nil
}

func decodeAnswer(encoded []byte, req *http.Request, call bitrix24.Call) *readAnswer {
	var s sharedAnswer
	if gob.NewDecoder(bytes.NewReader(encoded)).Decode(&s) != nil {
		return nil
	}
	a := &readAnswer{status: s.Status, header: s.Header, content: s.Content, whole: true, meaning: bitrix24.Answer{Kind: s.Kind}}
	if s.Kind == bitrix24.KindMethodError { // the log and the metrics name its code
		resp := a.replayed(req)
		a.meaning = examine(resp, call, func(bitrix24.Answer) {}, func(any) {})
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return a
}

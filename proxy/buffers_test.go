package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"b24proxy/proxy/bitrix24"
)

// examined reads an answer to a list call until its meaning is known.
func examined(text string) (*http.Response, bitrix24.Answer) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(text)), Request: &http.Request{Method: http.MethodPost},
	}
	a := examine(resp, bitrix24.ParseCall(deal), func(bitrix24.Answer) {}, nil)
	return resp, a
}

// The memory of an answer is used for another one as soon as it is closed, but neither
// before nor twice at once. That of an error is not, since its meaning needs the text.
func TestTextsAreUsedAgain(t *testing.T) {
	const success = `{"result":["one"]}`
	first, _ := examined(success)
	failed, refusal := examined(`{"more":"kept","error":"QUERY_LIMIT_EXCEEDED"}`)
	failed.Body.Close()
	first.Body.Close()
	first.Body.Close()
	var open []*http.Response
	for range 20 { // the pool may drop some
		resp, _ := examined(success)
		if content, err := io.ReadAll(first.Body); len(content) > 0 || err != nil {
			t.Fatalf("got %q (%v) from a closed answer, want nothing", content, err)
		}
		open = append(open, resp)
		if other, _ := examined(`{"result":["another"]}`); other != nil {
			open = append(open, other)
		}
	}
	for i, resp := range open {
		want := success
		if i%2 == 1 {
			want = `{"result":["another"]}`
		}
		if content, err := io.ReadAll(resp.Body); string(content) != want || err != nil {
			t.Errorf("got %q (%v) from answer %d, want %q", content, err, i, want)
		}
	}
	if _, _, content := refusal.Normalized(refusal.ErrorInfo()); !bytes.Contains(content, []byte(`"kept"`)) {
		t.Errorf("got %s, want the members that the portal wrote", content)
	}
}

// A buffer that has grown beyond the bound is not kept.
func TestLargeBuffersAreNotKept(t *testing.T) {
	b := buffers{size: 8, most: 16}
	for range 100 { // the pool may drop some
		b.Put(make([]byte, 4, 17))
		b.Put(make([]byte, 4, 16))
	}
	for range 200 {
		if p := b.Get(); len(p) != 8 && len(p) != 16 {
			t.Fatalf("got a buffer of %d bytes, want one of 8 or 16", len(p))
		}
	}
}

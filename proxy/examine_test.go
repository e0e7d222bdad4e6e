package proxy

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"b24proxy/limiter"
	"b24proxy/proxy/bitrix24"
)

// fixed answers all calls alike.
func fixed(status int, contentType string, body []byte, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		w.Write(body)
	}
}

func compress(t *testing.T, encoding string, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w = must(zstd.NewWriter(&b))
	}
	w.Write(text)
	w.Close()
	return b.Bytes()
}

// metric returns one value of /metrics, or 0 if there is none.
func (p *Proxy) metric(series string) float64 {
	w := p.get("/metrics")
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return must(strconv.ParseFloat(value, 64))
		}
	}
	return 0
}

func errorsTotal(code, source string) string {
	return fmt.Sprintf(`b24proxy_errors_total{code=%q,portal="acme.bitrix24.com",source=%q}`, code, source)
}

// A compressed answer is examined and passes compressed. A compressed error becomes a
// plain one.
func TestCompressedAnswers(t *testing.T) {
	long := []byte(`{"result":["` + strings.Repeat("a deal; ", 100_000) + `"],"time":{"operating":1.5}}`)
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd"} {
		for _, text := range [][]byte{[]byte(`{"result":true}`), long} {
			packed := compress(t, encoding, text)
			p := newProxy(t, nil).behind(fixed(200, "application/json", packed, "Content-Encoding", encoding))
			w := p.call("POST", "/rest/crm.deal.list", "")
			if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), packed) || w.Header().Get("Content-Encoding") != encoding {
				t.Errorf("%s: got %d with %d bytes, want 200 with the same %d", encoding, w.Code, w.Body.Len(), len(packed))
			}
		}
		packed := compress(t, encoding, []byte(`{"error":"expired_token","error_description":"The access token provided has expired"}`))
		p := newProxy(t, nil).behind(fixed(200, "application/json", packed, "Content-Encoding", encoding))
		w := p.call("POST", "/rest/crm.deal.list", "")
		if e := errorOf(t, w); w.Code != 401 || e.Error != "expired_token" || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: got %d %+v, want 401 expired_token without an encoding", encoding, w.Code, e)
		}
	}
}

// A file passes untouched from any address, if its header says that it is one. An
// error passes untouched from none.
func TestFiles(t *testing.T) {
	const docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	anyFile := hook + "/crm.controller.item.getFile"
	for name, f := range map[string]struct {
		path                      string
		status                    int
		contentType, body, header string
	}{
		"a document":                {anyFile, 200, docx, "PK\x03\x04", ""},
		"a picture":                 {anyFile, 200, "image/jpeg", "\xff\xd8", ""},
		"an empty file":             {anyFile, 200, "image/jpeg", "", ""},
		"a page as attachment":      {anyFile, 200, "text/html", "<html>", "attachment"},
		"JSON as attachment":        {"/rest/download.json?token=x", 200, "application/json", `{"error":"QUERY_LIMIT_EXCEEDED"}`, `attachment; filename="a.json"`},
		"half of a file":            {"/rest/download.json?token=x", 206, "application/json", `{"error":"QUE`, "range"},
		"a script":                  {anyFile, 200, "application/javascript", "alert(1)", ""},
		"a text":                    {anyFile, 200, "text/plain", "Warning: a text", ""},
		"a long text":               {anyFile, 200, "text/plain", strings.Repeat("a text ", 1<<20), ""},
		"a page that is missing it": {anyFile, 404, "image/png", "\x89PNG", ""},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"X-Invented", "1"}
			switch f.header {
			case "":
			case "range":
				headers = []string{"Content-Range", "bytes 0-12/99"}
			default:
				headers = []string{"Content-Disposition", f.header}
			}
			w := newProxy(t, nil).behind(fixed(f.status, f.contentType, []byte(f.body), headers...)).call("POST", f.path, "")
			if w.Code != f.status || w.Body.String() != f.body || w.Header().Get("B24-Error-Source") != "" {
				t.Errorf("got %d with %d bytes, want the file at %d", w.Code, w.Body.Len(), f.status)
			}
		})
	}
	for _, path := range []string{"/rest/upload.json?token=x", "/rest/download.json?token=x", hook + "/crm.deal.list?token=x", anyFile} {
		for _, header := range []string{"", "attachment"} {
			p := newProxy(t, func(c *Config) { c.QueueWait = 0 }).behind(fixed(503, "application/json", []byte(`{"error":"QUERY_LIMIT_EXCEEDED"}`), "Content-Disposition", header))
			w := p.call("POST", path, "")
			if e := errorOf(t, w); w.Code != 503 || e.Error != "QUERY_LIMIT_EXCEEDED" || e.Proxy.Executed != "no" || w.Header().Get("Content-Disposition") != "" {
				t.Errorf("%s: got %d %s, want 503 QUERY_LIMIT_EXCEEDED", path, w.Code, w.Body)
			}
			if p.metric(errorsTotal("QUERY_LIMIT_EXCEEDED", "portal")) != 1 || p.metric(`b24proxy_requests_total{outcome="rejected",portal="acme.bitrix24.com",status_class="5xx"}`) != 1 {
				t.Errorf("%s: got no count of the error, want one", path)
			}
		}
	}
}

// A call to a signed address that the portal refused is sent again.
func TestRefusedUploadIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		p := newProxy(t, nil).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sent++; sent == 1 {
				fixed(503, "application/json", []byte(`{"error":"QUERY_LIMIT_EXCEEDED"}`))(w, r)
				return
			}
			good(w, r)
		}))
		if w := p.call("POST", "/rest/upload.json?token=x", "a file"); w.Code != 200 || sent != 2 {
			t.Errorf("got %d after %d attempts, want 200 after 2", w.Code, sent)
		}
	})
}

// An answer that cannot be decoded is judged by what can be seen of it, and a success
// never becomes an error.
func TestAnswersThatCannotBeDecoded(t *testing.T) {
	success := []byte(`{"result":true}`)
	refusal := []byte(`{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`)
	page := []byte(`<html>Log in</html>`)
	long := []byte(`{"result":["` + randomText(1<<20) + `"],"time":{"operating":1.5}}`)
	pack := func(text []byte) []byte { return compress(t, "gzip", text) }
	behind := func(packed []byte, more string) []byte { return append(packed, more...) }
	broken := pack(long)
	copy(broken[len(broken)/2:], "????????????????")
	for name, a := range map[string]struct {
		encoding string
		status   int
		body     []byte
		want     int // 0: as it came
		code     string
	}{
		"an unknown encoding":                 {"compress", 200, []byte("\x1f\x9d\x90"), 0, ""},
		"an unknown encoding of an error":     {"compress", 404, []byte("\x1f\x9d\x90"), 0, ""},
		"an unknown encoding at 503":          {"compress", 503, []byte("\x1f\x9d\x90"), 500, "ERROR_UNEXPECTED_ANSWER"},
		"an unknown encoding of nothing":      {"compress", 200, nil, 500, "ERROR_UNEXPECTED_ANSWER"},
		"a refusal that is not encoded":       {"compress", 503, refusal, 503, "QUERY_LIMIT_EXCEEDED"},
		"a refusal that is no gzip":           {"gzip", 503, refusal, 503, "QUERY_LIMIT_EXCEEDED"},
		"a long success that is no gzip":      {"gzip", 200, long, 0, ""},
		"a success that is no brotli":         {"br", 200, success, 0, ""},
		"a page that is no gzip":              {"gzip", 200, page, 500, "ERROR_UNEXPECTED_ANSWER"},
		"two encodings":                       {"gzip, gzip", 200, pack(pack(success)), 0, ""},
		"a refusal in two encodings":          {"gzip, gzip", 503, pack(pack(refusal)), 503, "QUERY_LIMIT_EXCEEDED"},
		"two encodings of which one is there": {"gzip, gzip", 200, pack(success), 0, ""},
		"too many encodings":                  {"gzip, gzip, gzip, gzip", 200, pack(pack(pack(pack(success)))), 0, ""},
		"zeros behind the end":                {"gzip", 200, behind(pack(success), strings.Repeat("\x00", 100)), 0, ""},
		"a few bytes behind the end":          {"gzip", 200, behind(pack(success), "\r\n"), 0, ""},
		"a page behind the end":               {"gzip", 200, behind(pack(success), "<br>a warning of PHP"), 0, ""},
		"bytes behind a refusal":              {"gzip", 503, behind(pack(refusal), "<br>a warning of PHP"), 503, "QUERY_LIMIT_EXCEEDED"},
		"bytes behind a page":                 {"gzip", 200, behind(pack(page), "<br>a warning of PHP"), 500, "ERROR_UNEXPECTED_ANSWER"},
		"bytes behind a long answer":          {"gzip", 200, behind(pack(long), "<br>a warning of PHP"), 0, ""},
		"bytes behind deflate":                {"deflate", 200, behind(compress(t, "deflate", success), "more"), 0, ""},
		"bytes behind brotli":                 {"br", 200, behind(compress(t, "br", success), "more"), 0, ""},
		"bytes behind zstd":                   {"zstd", 200, behind(compress(t, "zstd", success), "more"), 0, ""},
		"a broken middle":                     {"gzip", 200, broken, 0, ""},
		"a broken beginning":                  {"gzip", 200, behind(pack(success)[:10], strings.Repeat("\xff", 16)), 0, ""},
		"a broken beginning at 500":           {"gzip", 500, behind(pack(success)[:10], strings.Repeat("\xff", 16)), 500, "ERROR_UNEXPECTED_ANSWER"},
		"half of an answer":                   {"gzip", 200, pack([]byte(`{"result":["` + randomText(20_000) + `"]}`))[:10_000], 500, "ERROR_UNEXPECTED_ANSWER"},
		"gzip without its last bytes":         {"gzip", 200, pack(success)[:len(pack(success))-4], 0, ""},
		"two marks":                           {"", 200, []byte("\ufeff\ufeff" + `{"result":true}`), 0, ""},
		"a mark behind the end":               {"", 200, []byte(`{"result":true}` + "\ufeff\n"), 0, ""},
		"two marks before a refusal":          {"", 503, append([]byte("\ufeff \ufeff"), refusal...), 503, "QUERY_LIMIT_EXCEEDED"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, func(c *Config) { c.QueueWait = 0 }).behind(fixed(a.status, "application/json", a.body, "Content-Encoding", a.encoding))
			w := p.call("POST", deal, "")
			switch {
			case a.want == 0 && (w.Code != a.status || !bytes.Equal(w.Body.Bytes(), a.body) || w.Header().Get("Content-Encoding") != a.encoding):
				t.Errorf("got %d with %d bytes, want %d with the same %d", w.Code, w.Body.Len(), a.status, len(a.body))
			case a.want != 0 && (w.Code != a.want || errorOf(t, w).Error != a.code):
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, a.want, a.code)
			}
		})
	}
}

// An answer that says it is encoded and is not is held back until all of it has come,
// however small its pieces are.
func TestPlainInPieces(t *testing.T) {
	for status, want := range map[int]bitrix24.Kind{200: bitrix24.KindOK, 503: bitrix24.KindSystemError} {
		text := map[int]string{200: `{"result":true}`, 503: `{"error":"QUERY_LIMIT_EXCEEDED"}`}[status]
		resp := &http.Response{
			StatusCode: status, Header: http.Header{"Content-Encoding": {"gzip"}},
			Body:    io.NopCloser(iotest.OneByteReader(strings.NewReader(text))),
			Request: httptest.NewRequest(http.MethodPost, deal, nil),
		}
		if a := examine(resp, bitrix24.ParseCall(deal), func(bitrix24.Answer) {}, nil); a.Kind != want {
			t.Errorf("%s: got %v, want %v", text, a.Kind, want)
		}
	}
}

// The header says everything of a redirect, and of a successful answer to a request for
// no content.
func TestBareAnswers(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 299, false}, {"POST", 300, true}, {"POST", 399, true}, {"POST", 400, false},
		{"HEAD", 200, true}, {"OPTIONS", 499, true}, {"HEAD", 500, false}, {"OPTIONS", 503, false},
	} {
		resp := &http.Response{StatusCode: c.status, Request: httptest.NewRequest(c.method, "/", nil)}
		if isBare(resp) != c.want {
			t.Errorf("%s at %d: got bare %v, want %v", c.method, c.status, !c.want, c.want)
		}
	}
}

// An answer that is held as a whole leaves with its length, in whatever pieces it came.
// One that streams, or has trailers, leaves in chunks.
func TestLengthOfHeldAnswers(t *testing.T) {
	const text = `{"result":[1,2,3]}`
	long := `{"result":"` + strings.Repeat("x", 4*bitrix24.HeadLimit) + `"}`
	for name, c := range map[string]struct {
		answer, trailer string
		length          int64
	}{
		"held": {text, "", int64(len(text))}, "streamed": {long, "", -1}, "with a trailer": {text, "X-Sum", -1},
	} {
		t.Run(name, func(t *testing.T) {
			portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, c.answer[:5])
				w.(http.Flusher).Flush()
				io.WriteString(w, c.answer[5:])
				if c.trailer != "" {
					w.Header().Set(http.TrailerPrefix+c.trailer, "1")
				}
			}))
			defer portal.Close()
			ours := httptest.NewServer(newProxy(t, func(config *Config) { config.Upstream = mustURL(portal.URL) }))
			defer ours.Close()
			resp := must(http.Post(ours.URL+deal, "", nil))
			defer resp.Body.Close()
			content := must(io.ReadAll(resp.Body))
			if resp.ContentLength != c.length || string(content) != c.answer || c.trailer != "" && resp.Trailer.Get(c.trailer) != "1" {
				t.Errorf("got %d bytes %.50q with the trailer %v, want %d and the same answer", resp.ContentLength, content, resp.Trailer, c.length)
			}
		})
	}
}

// randomText has letters that can hardly be compressed.
func randomText(n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = 'a' + byte(random.IntN(26))
	}
	return string(text)
}

// The errors inside a batch are counted one by one, also in a batch of some megabytes,
// and the batch passes untouched.
func TestBatchErrorsAreCounted(t *testing.T) {
	for _, padding := range []int{0, 3 << 20} {
		for _, encoding := range []string{"", "gzip"} {
			text := fmt.Appendf(nil, `{"result":{"result":{"a":[%q]},"result_error":{"b":{"error":"insufficient_scope","error_description":""},"c":{"error":"","error_description":"x"},"d":{"error":"OPERATION_TIME_LIMIT"}},"result_total":[],"result_next":[],"result_time":[]},"time":{}}`, strings.Repeat("x", padding))
			headers := []string{}
			if encoding != "" {
				text = compress(t, encoding, text)
				headers = []string{"Content-Encoding", encoding}
			}
			p := newProxy(t, nil).behind(fixed(200, "application/json", text, headers...))
			w := p.call("POST", "/rest/batch", "")
			if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), text) {
				t.Fatalf("got %d with %d bytes, want 200 with the same %d", w.Code, w.Body.Len(), len(text))
			}
			for _, code := range []string{"insufficient_scope", "empty", "OPERATION_TIME_LIMIT"} {
				if n := p.metric(errorsTotal(code, "batch")); n != 1 {
					t.Errorf("padding %d, %s: got %v for %s, want 1", padding, encoding, n, code)
				}
			}
		}
	}
}

// A long answer that breaks off does not end as a whole one does.
func TestLongAnswerCutOff(t *testing.T) {
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		io.WriteString(w, `{"result":["`+strings.Repeat("x", 500_000))
	}))
	defer portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL) })
	proxy := httptest.NewServer(p)
	defer proxy.Close()
	resp := must(http.Get(proxy.URL + "/rest/crm.deal.list"))
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("got %d bytes and no error, want an error", len(got))
	}
	portalLabel := strings.TrimPrefix(portal.URL, "http://")
	for _, series := range []string{
		`b24proxy_errors_total{code="ERROR_UNEXPECTED_ANSWER",portal="` + portalLabel + `",source="portal"}`,
		`b24proxy_requests_total{outcome="portal_error",portal="` + portalLabel + `",status_class="2xx"}`,
	} {
		for n := 0; p.metric(series) != 1; n++ {
			if n > 1000 {
				t.Fatalf("got %v for %s after a thousand looks, want 1", p.metric(series), series)
			}
		}
	}
}

// endless answers with a list of about n bytes.
func endless(n int) http.HandlerFunc {
	chunk := []byte(strings.Repeat(`{"ID":"1","TITLE":"A deal of some kind"},`, 800))
	return func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"result":[`)
		for sent := 0; sent < n; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		io.WriteString(w, `{}],"time":{"operating":1}}`)
	}
}

// An answer of 200 MB streams in bounded memory.
func TestLargeAnswerStreams(t *testing.T) {
	const size = 200 << 20
	portal := httptest.NewServer(endless(size))
	defer portal.Close()
	p := newProxy(t, func(c *Config) { c.Upstream = mustURL(portal.URL) })
	proxy := httptest.NewServer(p)
	defer proxy.Close()
	get := func() (n int64) {
		resp := must(http.Get(proxy.URL + "/rest/crm.deal.list"))
		defer resp.Body.Close()
		return must(io.Copy(io.Discard, resp.Body))
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak.Store(max(peak.Load(), now.HeapAlloc))
			}
		}
	})
	n := get()
	close(stop)
	watch.Wait()
	added := int64(peak.Load()) - int64(before.HeapAlloc)
	t.Logf("%d MB streamed, %.1f MB of live memory added", n>>20, float64(added)/(1<<20))
	if n < size || added > 8<<20 {
		t.Errorf("got %d bytes and %d bytes more memory, want %d and at most %d", n, added, size, 8<<20)
	}
}

// BenchmarkLargeAnswer streams 200 MB through the proxy and through a bare
// ReverseProxy in turn, and reports the ratio of their speeds.
func BenchmarkLargeAnswer(b *testing.B) {
	portal := httptest.NewServer(endless(200 << 20))
	defer portal.Close()
	p := newProxy(b, func(c *Config) {
		c.Upstream, c.Plan = mustURL(portal.URL), limiter.Unlimited
		c.Log = debugLog(io.Discard)
	})
	ours := httptest.NewServer(p)
	defer ours.Close()
	bare := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(mustURL(portal.URL)) }, BufferPool: &buffers{}})
	defer bare.Close()
	get := func(base string) {
		resp := must(http.Get(base + "/rest/crm.deal.list"))
		defer resp.Body.Close()
		b.SetBytes(must(io.Copy(io.Discard, resp.Body)))
	}
	var spent [2]time.Duration
	for b.Loop() {
		for i, base := range []string{ours.URL, bare.URL} {
			began := time.Now()
			get(base)
			spent[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "of-bare-speed")
}

package proxy

import (
	"fmt"
	"strings"
)

// hostileFraming are requests whose header or body has no end that all programs agree
// about, and such as are not requests of HTTP/1.1 at all.
func hostileFraming() (all []hostile) {
	const (
		ok     = "503 PORTAL_UNREACHABLE"
		portal = "acme.bitrix24.com:443"
	)
	add := func(what, want, dialled, sent string) { all = append(all, hostile{what, sent, want, dialled}) }
	post := func(body string, lines ...string) string {
		return request("POST", hookPath, "HTTP/1.1", append([]string{"Host: acme.bitrix24.com"}, lines...)...) + body
	}
	const chunked = "Transfer-Encoding: chunked"
	const smuggled = "GET /rest/smuggled HTTP/1.1\r\nHost: acme.bitrix24.com\r\n\r\n"

	add("a length and chunks", notRead, "", post("0\r\n\r\n"+smuggled, "Content-Length: 5", chunked))
	add("chunks and a length", notRead, "", post("0\r\n\r\n"+smuggled, chunked, "Content-Length: 5"))
	add("two lengths that differ", notRead, "", post("hello"+smuggled, "Content-Length: 5", "Content-Length: 6"))
	add("two lengths that agree", ok, portal, post("hello", "Content-Length: 5", "Content-Length: 5"))
	add("a list of lengths", notRead, "", post("hello", "Content-Length: 5, 5"))
	add("a length with a plus", notRead, "", post("hello", "Content-Length: +5"))
	add("a length with a minus", notRead, "", post("hello", "Content-Length: -5"))
	add("a length in hex", notRead, "", post("hello", "Content-Length: 0x5"))
	add("a length with a space within", notRead, "", post("hello", "Content-Length: 1 5"))
	add("a length with a letter", notRead, "", post("hello", "Content-Length: 5a"))
	add("a length without digits", notRead, "", post("hello", "Content-Length: "))
	add("a length of 20 digits", notRead, "", post("hello", "Content-Length: 99999999999999999999"))
	add("a length with an underscore in its name", ok, portal, post("hello"+"\r\n\r\n", "Content_Length: 5"))
	add("an encoding that is not known", "501 REQUEST_NOT_READ", "", post("hello", "Transfer-Encoding: gzip"))
	add("chunks twice", "501 REQUEST_NOT_READ", "", post("0\r\n\r\n", "Transfer-Encoding: chunked, chunked"))
	add("chunks in two headers", "501 REQUEST_NOT_READ", "", post("0\r\n\r\n", chunked, chunked))
	add("chunks after another encoding", "501 REQUEST_NOT_READ", "", post("0\r\n\r\n", "Transfer-Encoding: gzip, chunked"))
	add("the encoding identity", "501 REQUEST_NOT_READ", "", post("hello", "Transfer-Encoding: identity"))
	add("an empty encoding", "501 REQUEST_NOT_READ", "", post("hello", "Transfer-Encoding: "))
	add("chunks with a tab in front", ok, portal, post("0\r\n\r\n", "Transfer-Encoding:\tchunked"))
	add("chunks with a vertical tab in front", notRead, "", post("0\r\n\r\n", "Transfer-Encoding: \x0bchunked"))
	add("chunks in quotes", "501 REQUEST_NOT_READ", "", post("0\r\n\r\n", "Transfer-Encoding: \"chunked\""))
	add("an encoding with a space before its colon", notRead, "", post("0\r\n\r\n", "Transfer-Encoding : chunked"))
	add("an encoding in a folded line", notRead, "", post("0\r\n\r\n", "X-A: a\r\n Transfer-Encoding: chunked"))
	add("an encoding that is folded", notRead, "", post("0\r\n\r\n", "Transfer-Encoding:\r\n chunked"))
	add("a first header line that is folded", notRead, "", "GET / HTTP/1.1\r\n Host: acme.bitrix24.com\r\nHost: acme.bitrix24.com\r\n\r\n")

	add("a chunk size with a sign", notRead, "", post("+5\r\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk size below zero", notRead, "", post("-5\r\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk size with 0x", notRead, "", post("0x5\r\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk size of 17 digits", notRead, "", post("10000000000000005\r\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk size with an underscore", notRead, "", post("0_5\r\nhello\r\n0\r\n\r\n", chunked))
	add("no chunk size", notRead, "", post("\r\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk that is longer than its size", notRead, "", post("5\r\nhello, world\r\n0\r\n\r\n", chunked))
	add("a chunk that ends with a line feed alone", notRead, "", post("5\r\nhello\n0\r\n\r\n", chunked))
	add("a chunk size that ends with a line feed alone", notRead, "", post("5\nhello\r\n0\r\n\r\n", chunked))
	add("a chunk size that ends with a carriage return alone", notRead, "", post("5\rhello\r\n0\r\n\r\n", chunked))
	add("a chunk extension of 10 kB", notRead, "", post("5;"+strings.Repeat("a", 10<<10)+"\r\nhello\r\n0\r\n\r\n", chunked))
	add("chunk extensions without end", notRead, "", post(strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 100)+"0\r\n\r\n", chunked))
	add("a chunk extension with a line feed", notRead, "", post("5;a\nb\r\nhello\r\n0\r\n\r\n", chunked))
	add("trailers with a Host and a length", notRead, "", post("5\r\nhello\r\n0\r\nHost: evil.example\r\nContent-Length: 100\r\n\r\n", chunked, "Trailer: Host, Content-Length"))
	add("trailers without end", notRead, "", post("0\r\n"+strings.Repeat("A: b\r\n", 100_000), chunked))

	add("no request but a line feed", notRead, "", "\n\n\r\n\r\n")
	add("HTTP/0.9", notRead, "", "GET /rest/profile\r\n\r\n")
	add("HTTP/1.0 with chunks", notRead, "", request("POST", hookPath, "HTTP/1.0", "Host: acme.bitrix24.com", chunked)+"0\r\n\r\n")
	add("HTTP/1.0 without a Host", notNamed, "", request("GET", hookPath, "HTTP/1.0"))
	add("HTTP/1.1 without a Host", notRead, "", request("GET", hookPath, "HTTP/1.1"))
	add("HTTP/1.2", ok, portal, request("GET", hookPath, "HTTP/1.2", "Host: acme.bitrix24.com"))
	add("HTTP/2.0 in text", "505 REQUEST_NOT_READ", "", request("GET", hookPath, "HTTP/2.0", "Host: acme.bitrix24.com"))
	add("HTTP/3.0 in text", "505 REQUEST_NOT_READ", "", request("GET", hookPath, "HTTP/3.0", "Host: acme.bitrix24.com"))
	add("HTTP/1.11", notRead, "", request("GET", hookPath, "HTTP/1.11", "Host: acme.bitrix24.com"))
	add("a version in small letters", notRead, "", request("GET", hookPath, "http/1.1", "Host: acme.bitrix24.com"))
	add("another protocol", notRead, "", request("GET", hookPath, "RTSP/1.0", "Host: acme.bitrix24.com"))
	add("the preface of HTTP/2", notNamed, "", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	add("a greeting of TLS", notRead, "", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
	add("a greeting of SMTP", notRead, "", "EHLO evil.example\r\n\r\n")
	add("the header of the PROXY protocol", notRead, "", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"+toHost("acme.bitrix24.com"))
	add("an upgrade to HTTP/2", ok, portal, request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")+"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	add("an upgrade to a web socket", ok, portal, "GET "+hookPath+" HTTP/1.1\r\nHost: acme.bitrix24.com\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	add("another expectation than 100-continue", "417 REQUEST_NOT_READ", "", post("hello", "Content-Length: 5", "Expect: 200-ok"))
	add("a method with a space", notRead, "", request("GET /x POST", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a method with a slash", notRead, "", request("GE/T", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a method with a NUL", notRead, "", request("GE\x00T", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a method in Cyrillic", notRead, "", request("G\u0415T", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("no method", notRead, "", request("", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("two spaces after the method", notRead, "", request("GET ", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a tab after the method", notRead, "", "GET\t"+hookPath+"\tHTTP/1.1\r\nHost: acme.bitrix24.com\r\n\r\n")
	add("a space before the method", notRead, "", " "+toHost("acme.bitrix24.com"))
	add("TRACE", ok, portal, request("TRACE", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))

	for what, line := range map[string]string{
		"without a colon":                        "Host acme",
		"without a name":                         ": value",
		"with a space before the colon":          "X-A : b",
		"with a tab before the colon":            "X-A\t: b",
		"with a NUL in its name":                 "X\x00A: b",
		"with a NUL in its value":                "X-A: b\x00c",
		"with a carriage return in its value":    "X-A: b\rc",
		"with a delete character in its value":   "X-A: b\x7fc",
		"with a parenthesis in its name":         "X(A): b",
		"with a name in Cyrillic":                "\u0425-A: b",
		"that is folded":                         "X-A: b\r\n c",
		"that is folded with a tab":              "X-A: b\r\n\tc",
		"that is blank":                          " ",
		"that ends with two carriage returns":    "X-A: b\r",
		"with a line feed and then another Host": "X-A: b\n: c",
	} {
		add("a header line "+what, notRead, "", request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", line))
	}
	add("line feeds alone", ok, portal, strings.ReplaceAll(toHost("acme.bitrix24.com"), "\r\n", "\n"))

	add("a first line of a megabyte", "431 REQUEST_TOO_LARGE", "", request("GET", hookPath+"?"+strings.Repeat("a", 1<<20), "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a method of a megabyte", "431 REQUEST_TOO_LARGE", "", request(strings.Repeat("A", 1<<20), hookPath, "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a header of a megabyte", "431 REQUEST_TOO_LARGE", "", request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", "X-A: "+strings.Repeat("a", 1<<20)))
	add("a name of a header of a megabyte", "431 REQUEST_TOO_LARGE", "", request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", strings.Repeat("a", 1<<20)+": a"))
	add("a Host of a megabyte", "431 REQUEST_TOO_LARGE", "", toHost(strings.Repeat("a", 1<<20)))
	add("100000 header lines", "431 REQUEST_TOO_LARGE", "", request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", strings.Repeat("X-A: b\r\n", 100_000)+"X-B: c"))
	add("100000 names of headers", "431 REQUEST_TOO_LARGE", "", request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", manyNames(100_000)))
	add("a line of 100 kB", ok, portal, request("GET", hookPath+"?"+strings.Repeat("a", 100_000), "HTTP/1.1", "Host: acme.bitrix24.com"))
	add("a body above the bound", "413 REQUEST_TOO_LARGE", "", post("", "Content-Length: 1048577"))
	add("a body above the bound in chunks", "413 REQUEST_TOO_LARGE", "", post(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 1<<20+1, strings.Repeat("a", 1<<20+1)), chunked))
	add("a body of 8 exabytes", "413 REQUEST_TOO_LARGE", "", post("hello", "Content-Length: 9223372036854775807"))
	add("a good request and then one that is not", ok+", "+notRead, portal, "GET "+hookPath+" HTTP/1.1\r\nHost: acme.bitrix24.com\r\n\r\nBAD\r\n\r\n")
	add("a length that is shorter than the body", ok+", "+notRead, portal, "POST "+hookPath+" HTTP/1.1\r\nHost: acme.bitrix24.com\r\nContent-Length: 2\r\n\r\nhello\r\n\r\n")
	return all
}

func manyNames(n int) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "X-%d: b\r\n", i)
	}
	return lines.String() + "X-A: b"
}

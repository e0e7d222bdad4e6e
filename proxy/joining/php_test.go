package joining

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"b24proxy/proxy/bitrix24"
)

// reader reads lines of a kind, a single call and a command. It prints each pair that PHP
// reads differently, and at the end how many there were. An integer in JSON becomes a
// text within a batch.
const reader = `
function texts($v) { return is_array($v) ? array_map('texts', $v) : (is_int($v) ? (string)$v : $v); }
$pairs = 0;
while (($line = fgets(STDIN)) !== false) {
	[$kind, $query, $body, $command] = explode(' ', rtrim($line, "\n"));
	parse_str(base64_decode($query), $single);
	if ($kind == 'json') {
		$posted = json_decode(base64_decode($body), true);
	} else {
		parse_str(base64_decode($body), $posted);
	}
	$single = array_replace($single, texts($posted));
	$command = base64_decode($command);
	parse_str(parse_url($command, PHP_URL_QUERY), $joined);
	$pairs++;
	if ($single !== $joined || parse_url($command, PHP_URL_PATH) !== 'crm.deal.list') {
		echo $command, "\n", json_encode($single), "\n", json_encode($joined), "\n";
	}
}
echo "$pairs pairs\n";
`

// PHP reads the parameters of 100,000 random calls alike, whether they come alone or as
// a command of a batch.
func TestPHPReadsACommandAsASingleCall(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("php is missing; CI must run this test with it")
	}
	if err != nil {
		t.Skip("needs php (.ci/setup installs it)")
	}
	const pairs = 100_000
	cmd := exec.CommandContext(t.Context(), php, "-n", "-r", reader)
	in, _ := cmd.StdinPipe()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writePairs(in, pairs)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("php: %v\n%.2000s", err, out.String())
	}
	if want := fmt.Sprintf("%d pairs\n", pairs); out.String() != want {
		t.Errorf("got differences, want none:\n%.2000s", out.String())
	}
}

// writePairs writes calls that may travel, and their commands.
func writePairs(to io.WriteCloser, n int) {
	defer to.Close()
	w := bufio.NewWriter(to)
	defer w.Flush()
	encoded := base64.StdEncoding.EncodeToString
	g := generator{rand.New(rand.NewPCG(24, 50))}
	for n > 0 {
		r := g.request()
		read, reason := Prepare(r)
		if reason != "" {
			continue
		}
		n--
		kind := "form"
		if r.Header.Get("Content-Type") == "application/json" {
			kind = "json"
		}
		fmt.Fprintln(w, kind, encoded([]byte(r.Query)), encoded(r.Body), encoded([]byte(read.command)))
	}
}

// A generator makes random calls, with what PHP reads in its own way.
type generator struct{ *rand.Rand }

func (g generator) request() Request {
	r := Request{Verb: http.MethodPost, Path: "/rest/1/c0de/crm.deal.list", Header: http.Header{}}
	r.Call = bitrix24.ParseCall(r.Path)
	switch g.IntN(4) {
	case 0:
		r.Verb, r.Query = http.MethodGet, g.form()
	case 1:
		r.Body = []byte(g.form())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case 2:
		r.Query = "bx24_request_id=" + g.text()
		fallthrough
	default:
		r.Body, _ = json.Marshal(g.object(0))
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (g generator) form() string {
	var parts []string
	for range g.IntN(6) {
		name := g.pick(formNames)
		for range g.IntN(3) {
			name += "[" + g.pick(formKeys) + "]"
		}
		parts = append(parts, name+"="+g.pick(formValues)+g.pick(formValues))
	}
	return strings.Join(parts, g.pick([]string{"&", "&", "&&"}))
}

func (g generator) object(depth int) map[string]any {
	o := make(map[string]any)
	for range 1 + g.IntN(4) {
		o[g.key(depth)] = g.value(depth + 1)
	}
	return o
}

func (g generator) value(depth int) any {
	switch n := g.IntN(10); {
	case n == 0 && depth < 40:
		list := make([]any, 1+g.IntN(3))
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return list
	case n < 4 && depth < 40:
		return g.object(depth + 1)
	case n == 4:
		return g.Int64N(1<<40) - 1<<39
	}
	return g.text()
}

func (g generator) text() string {
	var b strings.Builder
	for range 1 + g.IntN(4) {
		if g.IntN(8) == 0 {
			b.WriteRune(rune(0x20 + g.IntN(0x3000)))
		}
		b.WriteString(g.pick(pieces))
	}
	return b.String()
}

// key is a text that a call may have as a key, mostly.
func (g generator) key(depth int) string {
	unfit := "[]$\u0085"
	if depth == 0 {
		unfit += ". "
	}
	for {
		if key := g.text(); !strings.ContainsAny(key, unfit) || g.IntN(20) == 0 {
			return key
		}
	}
}

func (g generator) pick(from []string) string { return from[g.IntN(len(from))] }

var (
	pieces = []string{
		"ID", "select", "filter", ">=DATE_CREATE", "%TITLE", "!STATUS", "0", "007", "-5", "1", "a b", " ", "+", "&", "=", "#", "?", "%", "%41", "%zz",
		";", ":", ":80", "/", "//", "@", "!", "'", `"`, ",", ".", "..", "~", "*", "{", "}", "|", "^", "`", "Привет", "日本", "😀", "é", "é", "x[", "]", "$",
		"http://a.b/c?d=e#f", "\u0085", "\u00a0", "\u200b",
	}
	formNames  = []string{"filter", "select", "order", "start", "FIELDS", "a-b", "%D0%B0", "a%20b", "x+y", "a.b", "_", "q%5B0%5D", "ü", "п", "a;b", "a:b", "#a"}
	formKeys   = []string{"", "", "ID", "0", "7", "007", "-1", "%3E%3DDATE", ">=DATE", "!ID", "a.b", "a%20b", "+a", "a+", "%25T", "п", "a'b", "a%5Bb", `a"b`}
	formValues = []string{"1", "x", "a+b", "a%20b", "%D0%9F", "п", "%26", "%3D", "=", "#", "%23", "%2B", "?", "/", ":", ";", "a:80", "'", `"`, "|", "%25", "^", "%5B", "[", "]", "{}", "\\", "`", "<", "$"}
)

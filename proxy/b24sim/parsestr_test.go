package b24sim

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// PHP itself reads generated queries and commands as the simulator does. The pieces are
// those that PHP treats in a way of its own.
func TestPHP(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("php is missing; CI must run this test with it")
		}
		t.Skip("needs php (.ci/setup installs it)")
	}
	queries := oddQueries(5000)
	input, err := json.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	const script = `foreach (json_decode(stream_get_contents(STDIN)) as $q) {
		$url = parse_url("m?$q");
		$p = [];
		@parse_str($url["query"] ?? "", $p);
		echo json_encode($p, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE, 1000), "\n";
	}`
	cmd := exec.CommandContext(t.Context(), php, "-n", "-r", script)
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(queries) {
		t.Fatalf("got %d lines of php, want %d", len(lines), len(queries))
	}
	for i, q := range queries {
		if lines[i] == "" {
			continue // bad UTF-8 cannot be printed as JSON
		}
		_, query := splitCommand("m?" + q)
		if got := canonical(t, asJSON(t, parseForm(query))); got != canonical(t, lines[i]) {
			t.Fatalf("%q: got %s, want %s as php reads it", q, got, lines[i])
		}
	}
}

// canonical writes JSON again with the escapes of Go, in the same order of keys.
func canonical(t *testing.T, text string) string {
	t.Helper()
	v, err := parseJSON([]byte(text))
	if err != nil {
		return text // nested too deeply to be read
	}
	return asJSON(t, v)
}

// oddQueries makes queries of pieces, and some that reach PHP's bounds.
func oddQueries(n int) []string {
	pieces := strings.Split("a|b|a|[|]|[]|[a]|[0]|[7]|[-3]|[05]|[ ]|[  x]|[%0b]|.|+| |_|&|&|&|=|=|%|%5B|%5d|%00|%zz|%26|#|?|\t|\x01|\x7f|ж|é|[ж]|9223372036854775807|[9223372036854775807]|7|;", "|")
	random := rand.New(rand.NewPCG(13, 13))
	queries := []string{
		strings.Repeat("a[]=1&", 1001),
		strings.Repeat("=1&", 999) + "x=1&y=2",
		"a" + strings.Repeat("[x]", 64) + "=1",
		"a[k]=1&a" + strings.Repeat("[x]", 65) + "=1&b=2",
		"a[k]=1&a" + strings.Repeat("[x]", 64) + "[y=1",
	}
	for range n {
		var b strings.Builder
		for range 1 + random.IntN(14) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		queries = append(queries, b.String())
	}
	return queries
}

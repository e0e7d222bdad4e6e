// Command report reads what `go test -json` writes: it prints the packages as
// they end, all that failing tests wrote, why tests were skipped, and at last
// how many passed, failed and were skipped, subtests counted. It exits with 1
// when something failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// An event is a line of test2json.
type event struct{ Action, Package, Test, Output string }

func main() {
	passed, failed, skipped := 0, 0, 0
	wrote := make(map[string]map[string]string) // by package and test
	failures := make(map[string]int)            // tests, by package
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Println(lines.Text())
			continue
		}
		output := wrote[e.Package]
		if output == nil {
			output = make(map[string]string)
			wrote[e.Package] = output
		}
		switch {
		case e.Action == "output":
			output[e.Test] += e.Output
		case e.Action == "build-output":
			fmt.Print(e.Output)
		case e.Test != "" && e.Action == "pass":
			passed++
			delete(output, e.Test)
		case e.Test != "" && e.Action == "skip":
			skipped++
			fmt.Print(output[e.Test])
			delete(output, e.Test)
		case e.Test != "" && e.Action == "fail":
			failed++
			failures[e.Package]++
			fmt.Print(output[e.Test])
			delete(output, e.Test)
		case e.Action == "fail": // a package: its tests, its build, or something else
			if failures[e.Package] == 0 {
				failed++
			}
			for _, text := range output { // also of tests that did not end
				fmt.Print(text)
			}
		case e.Action == "pass" || e.Action == "skip":
			fmt.Print(lastLine(output[""]))
		}
	}
	if err := lines.Err(); err != nil {
		failed++
		fmt.Println(err)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

// lastLine is how a package ended.
func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:] + "\n"
}

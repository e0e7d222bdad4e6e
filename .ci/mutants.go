// Command mutants reads the report of gremlins about a package from .ci/out. It
// prints which mutants survive and the share that the tests kill. A survivor
// that .ci/mutants.tsv lists is left out, because it means the same as the
// program does. It exits with 1 if the share is below the goal, or if the list
// names a mutant that does not survive.
//
// As gremlins does, it counts neither what no test reaches nor what timed out.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"strings"
)

const goal = 92 // percent

// A report is what gremlins writes.
type report struct {
	Files []struct {
		Name      string `json:"file_name"`
		Mutations []struct {
			Type, Status string
			Line, Column int
		}
	}
}

func main() {
	folder := os.Args[1]
	listed := readList(".ci/mutants.tsv")
	var r report
	check(json.Unmarshal(read(".ci/out/mutants.json"), &r))

	count := make(map[string]int)
	lives := make(map[string]bool)
	mutated := make(map[string]bool)
	for _, file := range r.Files {
		name := path.Join(folder, file.Name)
		mutated[name] = true
		src := parse(name)
		for _, m := range file.Mutations {
			key := strings.Join([]string{name, src.function(m.Line), m.Type, src.mark(m.Line, m.Column)}, "\t")
			if m.Status != "KILLED" {
				lives[key] = true
			}
			if m.Status == "LIVED" && listed[key] {
				m.Status = "LISTED"
			}
			if m.Status == "LIVED" {
				fmt.Printf("%d:%d\t%s\n", m.Line, m.Column, key)
			}
			count[m.Status]++
		}
	}
	stale := 0
	for key := range listed {
		if name, _, _ := strings.Cut(key, "\t"); mutated[name] && !lives[key] {
			stale++
			fmt.Printf("does not survive, remove it from .ci/mutants.tsv:\t%s\n", key)
		}
	}
	rate := 100 * float64(count["KILLED"]) / float64(max(1, count["KILLED"]+count["LIVED"]))
	fmt.Printf("%s: %.1f %% killed (%d killed, %d survive; not counted: %d listed, %d timed out, %d not covered)\n", folder,
		rate, count["KILLED"], count["LIVED"], count["LISTED"], count["TIMED OUT"], count["NOT COVERED"])
	if rate < goal || stale > 0 {
		os.Exit(1)
	}
}

// readList returns the keys of the listed mutants: a line without its reason.
func readList(name string) map[string]bool {
	keys := make(map[string]bool)
	for line := range strings.Lines(string(read(name))) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 || fields[4] == "" {
			check(fmt.Errorf("%s: %q: want a file, a function, a type, a line of code and a reason", name, line))
		}
		_, err := os.Stat(fields[0])
		check(err)
		keys[strings.Join(fields[:4], "\t")] = true
	}
	return keys
}

// A source is a file of the program. It names places in a way that stays valid
// when lines shift.
type source struct {
	set   *token.FileSet
	file  *ast.File
	lines []string
}

func parse(name string) source {
	text := read(name)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	check(err)
	return source{set, file, strings.Split(string(text), "\n")}
}

// function returns the name of the function around a line, "-" outside of any.
func (s source) function(line int) string {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || line < s.set.Position(f.Pos()).Line || line > s.set.Position(f.End()).Line {
			continue
		}
		if f.Recv != nil {
			at, end := f.Recv.List[0].Type.Pos(), f.Recv.List[0].Type.End()
			receiver := s.lines[s.set.Position(at).Line-1][s.set.Position(at).Column-1 : s.set.Position(end).Column-1]
			return strings.TrimPrefix(receiver, "*") + "." + f.Name.Name
		}
		return f.Name.Name
	}
	return "-"
}

// mark returns a line with a » before the operator that was changed.
func (s source) mark(line, column int) string {
	text := s.lines[line-1]
	return strings.TrimSpace(text[:column-1] + "»" + text[column-1:])
}

func read(name string) []byte {
	b, err := os.ReadFile(name)
	check(err)
	return b
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

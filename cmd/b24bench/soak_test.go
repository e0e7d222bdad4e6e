package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// A short soak loses and doubles nothing. Whether memory grows shows only in a long one.
func TestSoak(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), strings.Fields("-soak 2s -json"), &out, io.Discard)
	if errors.Is(err, errNoProc) {
		t.Skip(err)
	}
	var r soakReport
	if errJSON := json.Unmarshal(out.Bytes(), &r); errJSON != nil || len(r.Parts) != soakQuarter {
		t.Fatalf("got %s (%v, %v), want a report", out.Bytes(), err, errJSON)
	}
	if r.Calls == 0 || r.HungUp == 0 || r.Lost+r.Doubled+r.Wrong > 0 {
		t.Errorf("got %+v, want calls, and none lost, doubled or answered wrongly", r)
	}
	for _, p := range r.Parts {
		if p.MemoryBytes == 0 || p.Goroutines == 0 || p.Descriptors == 0 {
			t.Errorf("got %+v, want what the proxy holds", p)
		}
	}
}

// An answer must fit to how often its call ran.
func TestTrueAnswers(t *testing.T) {
	for _, c := range []struct {
		status   int
		executed string
		runs     int
		want     bool
	}{
		{200, "", 1, true}, {200, "", 0, false}, {200, "", 2, false}, {502, "", 1, false},
		{503, "no", 0, true}, {503, "no", 1, false}, {200, "no", 0, false},
		{500, "unknown", 0, true}, {500, "unknown", 1, true}, {500, "unknown", 2, false}, {200, "unknown", 1, false},
		{500, "perhaps", 1, false},
	} {
		if got := isTrue(c.status, c.executed, c.runs); got != c.want {
			t.Errorf("%d, executed %q, ran %d times: got %v, want %v", c.status, c.executed, c.runs, got, c.want)
		}
	}
	for content, want := range map[string]bool{`{"result":[]}`: true, `{"proxy":{"executed":"no"}}`: true, `{}`: false, `<html>`: false, `{"result":1,"proxy":{"executed":"no"}}`: false} {
		if _, isAnswer := readAnswer([]byte(content)); isAnswer != want {
			t.Errorf("%s: got answer %v, want %v", content, isAnswer, want)
		}
	}
}

// A call that runs after its answer, or twice, is doubled. One whose caller left, or
// whose answer says that it may still run, may run once.
func TestDoubled(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(p *flakyPortal)
		runs int
		want int64
	}{
		"answered":                 {func(p *flakyPortal) { p.settle("1", false) }, 0, 0},
		"answered, and ran later":  {func(p *flakyPortal) { p.settle("1", false) }, 1, 1},
		"unknown, and ran later":   {func(p *flakyPortal) { p.settle("1", true) }, 1, 0},
		"abandoned, and ran later": {func(p *flakyPortal) { p.abandon("1") }, 1, 0},
		"abandoned, and ran twice": {func(p *flakyPortal) { p.abandon("1") }, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := &flakyPortal{runs: make(map[string]int), left: make(map[string]bool)}
			c.end(p)
			if c.runs > 0 {
				p.runs["1"] += c.runs
			}
			if got := p.doubled(); got != c.want {
				t.Errorf("got %d doubled, want %d", got, c.want)
			}
		})
	}
}

// A soak fails if a call is lost, or if the last quarter holds more than the second.
func TestSoakCheck(t *testing.T) {
	flat := soakPart{1000, 20 << 20, 100, 60}
	report := func(last soakPart) soakReport { return soakReport{Parts: []soakPart{{}, flat, flat, last}} }
	for want, r := range map[string]soakReport{
		"":                        report(flat),
		"memory grew":             report(soakPart{1000, 40 << 20, 100, 60}),
		"goroutines grew":         report(soakPart{1000, 20 << 20, 300, 60}),
		"file descriptors grew":   report(soakPart{1000, 20 << 20, 100, 200}),
		"1 calls lost, 0 doubled": {Lost: 1, Parts: []soakPart{{}, flat, flat, flat}},
	} {
		if err := r.check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"
)

// tell runs a command line that does not serve.
func tell(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = command(context.Background(), args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

// -help prints every setting with its default and meaning, to standard output.
func TestHelp(t *testing.T) {
	for _, arg := range []string{"-help", "--help", "-h"} {
		code, stdout, stderr := tell(t, []string{"B24PROXY_PLAN=broken"}, arg)
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit %d, %q", arg, code, stderr)
		}
		for field := range reflect.TypeFor[settings]().Fields() {
			for _, want := range []string{prefix + field.Tag.Get("env") + " ", field.Tag.Get("envDefault"), field.Tag.Get("about")} {
				if !strings.Contains(stdout, want) {
					t.Errorf("%s does not tell %q", arg, want)
				}
			}
			if field.Tag.Get("about") == "" {
				t.Errorf("%s has no meaning", field.Name)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := tell(t, nil, "-version")
	if code != 0 || !strings.HasPrefix(stdout, "b24proxy ") || strings.Count(stdout, "\n") != 1 || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

// -check says whether the settings are good, in its exit code too, and starts
// nothing.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		environ        []string
		code           int
		stdout, stderr []string
	}{
		{nil, 0, []string{"valid"}, nil},
		{[]string{"B24PROXY_LISTEN=256.256.256.256:1"}, 0, []string{"valid"}, nil},
		{[]string{"B24PROXY_PLAM=standard"}, 0, []string{"valid"}, []string{"warning: B24PROXY_PLAM"}},
		{
			[]string{"B24PROXY_PLAN=gold", "B24PROXY_LISTEN=x", "B24PROXY_PLAM=x", "B24PROXY_CA_DIR=/ca"}, 1, nil,
			[]string{"warning: B24PROXY_PLAM", "\n  B24PROXY_PLAN: ", "\n  B24PROXY_LISTEN: ", "\n  B24PROXY_CA_DIR: "},
		},
	} {
		code, stdout, stderr := tell(t, c.environ, "-check")
		if code != c.code || (stdout == "") != (c.stdout == nil) || (stderr == "") != (c.stderr == nil) {
			t.Errorf("%v: exit %d, %q, %q", c.environ, code, stdout, stderr)
		}
		for _, want := range c.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%v: %q is not told in %q", c.environ, want, stdout)
			}
		}
		for _, want := range c.stderr {
			if !strings.Contains(stderr, want) {
				t.Errorf("%v: %q is not told in %q", c.environ, want, stderr)
			}
		}
	}
}

// Wrong settings and unknown arguments end the program with 1 and a word.
func TestDoesNotStart(t *testing.T) {
	if code, _, stderr := tell(t, []string{"B24PROXY_PLAN=gold"}); code != 1 || !strings.Contains(stderr, "B24PROXY_PLAN") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if code, _, stderr := tell(t, nil, "-chekc"); code != 1 || !strings.Contains(stderr, `"-chekc"`) || !strings.Contains(stderr, "-check") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

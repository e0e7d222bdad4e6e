package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"
)

// runCommand runs a command line that does not serve.
func runCommand(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = command(context.Background(), args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

// -help prints every setting with its default and its meaning to standard output.
func TestHelp(t *testing.T) {
	for _, arg := range []string{"-help", "--help", "-h"} {
		code, stdout, stderr := runCommand(t, []string{"B24PROXY_PLAN=broken", "B24PROXY_REDIS_URL=redis://:s3cret@127.0.0.1"}, arg)
		if code != 0 || stderr != "" || leaks(stdout) != nil {
			t.Errorf("%s: got exit code %d and errors %q, want 0, none, and no secret", arg, code, stderr)
		}
		for field := range reflect.TypeFor[settings]().Fields() {
			for _, want := range []string{prefix + field.Tag.Get("env") + " ", field.Tag.Get("envDefault"), field.Tag.Get("about")} {
				if !strings.Contains(stdout, want) {
					t.Errorf("%s: got no %q, want it in the table", arg, want)
				}
			}
			if field.Tag.Get("about") == "" {
				t.Errorf("%s: got no meaning, want one", field.Name)
			}
		}
	}
}

// -version prints one line.
func TestVersion(t *testing.T) {
	code, stdout, stderr := runCommand(t, nil, "-version")
	if code != 0 || !strings.HasPrefix(stdout, "b24proxy ") || strings.Count(stdout, "\n") != 1 || stderr != "" {
		t.Errorf("got exit code %d, output %q, errors %q, want 0 and one line", code, stdout, stderr)
	}
}

// -check reports whether the settings are valid, in its exit code too, and
// starts nothing.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name           string
		environ        []string
		code           int
		stdout, stderr []string
	}{
		{"the defaults are valid", nil, 0, []string{"valid"}, nil},
		{"an address that cannot be listened on is not tried", []string{"B24PROXY_LISTEN=256.256.256.256:1"}, 0, []string{"valid"}, nil},
		{"an unknown variable is a warning", []string{"B24PROXY_PLAM=standard"}, 0, []string{"valid"}, []string{"warning: B24PROXY_PLAM"}},
		{
			"all faults and warnings are printed at once",
			[]string{"B24PROXY_PLAN=gold", "B24PROXY_LISTEN=x", "B24PROXY_PLAM=x", "B24PROXY_CA_DIR=/missing/ca"}, 1, nil,
			[]string{"warning: B24PROXY_PLAM", "\n  B24PROXY_PLAN: ", "\n  B24PROXY_LISTEN: ", "\n  B24PROXY_CA_DIR: "},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := runCommand(t, c.environ, "-check")
			if code != c.code || (stdout == "") != (c.stdout == nil) || (stderr == "") != (c.stderr == nil) {
				t.Errorf("got exit code %d, output %q, errors %q, want code %d", code, stdout, stderr, c.code)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("got the output %q, want %q in it", stdout, want)
				}
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("got the errors %q, want %q in them", stderr, want)
				}
			}
		})
	}
}

// The program exits with 1 and says why when a setting is wrong or an argument
// is unknown.
func TestDoesNotStart(t *testing.T) {
	if code, _, stderr := runCommand(t, []string{"B24PROXY_PLAN=gold"}); code != 1 || !strings.Contains(stderr, "B24PROXY_PLAN") {
		t.Errorf("got exit code %d and errors %q, want 1 and B24PROXY_PLAN", code, stderr)
	}
	if code, _, stderr := runCommand(t, nil, "-chekc"); code != 1 || !strings.Contains(stderr, `"-chekc"`) || !strings.Contains(stderr, "-check") {
		t.Errorf("got exit code %d and errors %q, want 1, the argument and those that exist", code, stderr)
	}
}

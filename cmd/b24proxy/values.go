package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy"
)

// The types of the settings. When one refuses a value, it says what it allows,
// and does not repeat a value that may hold a secret.
type (
	address   string
	upstream  struct{ *url.URL }
	httpProxy struct{ *url.URL }
	hosts     []proxy.HostPattern
	tunnels   []proxy.HostPattern
	plan      limiter.Plan
	plans     proxy.HostMap[limiter.Plan]
	addresses proxy.HostMap[string]
	roots     struct{ *x509.CertPool }
	wait      time.Duration
	timeout   time.Duration
	count     int
	size      int64
	flag      bool
	logLevel  slog.Level
	autobatch string
	logFormat string
	logCalls  string
	mode      string
	path      string
	file      string
	folder    string
)

func (a *address) UnmarshalText(text []byte) error {
	if _, err := strconv.ParseUint(string(text), 10, 16); err == nil {
		return fmt.Errorf("%q is not host:port: write :%s for all interfaces, 127.0.0.1:%s for this machine alone", text, text, text)
	}
	if !isAddress(string(text)) {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:8080 or :8080", text)
	}
	*a = address(text)
	return nil
}

func (a address) host() string {
	host, _, _ := net.SplitHostPort(string(a))
	return host
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	n, errPort := strconv.ParseUint(port, 10, 16)
	return err == nil && errPort == nil && n <= 65535
}

func (u *upstream) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" {
		return errors.New("the value is not the address of a portal; write https://HOST or http://HOST:PORT (the value is not shown, because it may hold a webhook)")
	}
	if parsed.User != nil || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.Fragment != "" {
		return fmt.Errorf("write %s://%s, without path, query and user", parsed.Scheme, parsed.Host)
	}
	if err := checkHost(parsed.Host); err != nil {
		return err
	}
	u.URL = &url.URL{Scheme: parsed.Scheme, Host: parsed.Host}
	return nil
}

// checkHost refuses what is not one host; only lists may have patterns.
func checkHost(host string) error {
	pattern, err := proxy.ParseHostPattern(host)
	if err == nil && strings.HasPrefix(pattern.String(), "*") {
		err = fmt.Errorf("%q stands for many hosts; write one host", host)
	}
	return err
}

func (p *httpProxy) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || strings.Trim(parsed.Path, "/") != "" {
		return errors.New("the value is not the address of an HTTP proxy; write http://HOST:PORT, with USER:PASSWORD@ before HOST if the proxy asks for them (the value is not shown, because it may hold a password)")
	}
	if err := checkHost(parsed.Host); err != nil {
		return err
	}
	p.URL = parsed
	return nil
}

func (h *hosts) UnmarshalText(text []byte) error {
	return eachPart(text, func(part string) error {
		pattern, err := proxy.ParseHostPattern(part)
		if err == nil && pattern.Loopback() {
			err = fmt.Errorf("%q is a loopback address, which is allowed only in %sUPSTREAM", part, prefix)
		}
		*h = append(*h, pattern)
		return err
	})
}

func (t *tunnels) UnmarshalText(text []byte) error {
	if strings.EqualFold(strings.TrimSpace(string(text)), "none") {
		return nil
	}
	return eachPart(text, func(part string) error {
		pattern, err := proxy.ParseHostPattern(part)
		name := pattern.String()
		_, errAddr := netip.ParseAddr(strings.Trim(hostOf(name), "[]"))
		switch {
		case err != nil:
			return err
		case errAddr == nil, pattern.Loopback():
			return fmt.Errorf("%q is an address; write a name, and set %sCONNECT_TO if it leads to an address that is not public", part, prefix)
		case hostOf(name) != name:
			return fmt.Errorf("%q has a port; tunnels lead only to port 443, so write %s", part, hostOf(name))
		}
		*t = append(*t, pattern)
		return nil
	})
}

func (p *plan) UnmarshalText(text []byte) (err error) {
	parsed, err := limiter.ParsePlan(string(text))
	*p = plan(parsed)
	return err
}

func (p *plans) UnmarshalText(text []byte) error {
	return eachPair(text, "acme.bitrix24.com=enterprise", func(pattern proxy.HostPattern, value string) error {
		plan, err := limiter.ParsePlan(value)
		*p = append(*p, proxy.HostEntry[limiter.Plan]{Pattern: pattern, Value: plan})
		return err
	})
}

func (a *addresses) UnmarshalText(text []byte) error {
	return eachPair(text, "*.bitrix24.com=10.0.0.5:443", func(pattern proxy.HostPattern, value string) error {
		if host, _, err := net.SplitHostPort(value); !isAddress(value) || err != nil || host == "" {
			return fmt.Errorf("%q is not host:port, such as 10.0.0.5:443", value)
		}
		*a = append(*a, proxy.HostEntry[string]{Pattern: pattern, Value: value})
		return nil
	})
}

func (r *roots) UnmarshalText(text []byte) error {
	pem, err := os.ReadFile(string(text))
	if err != nil {
		return err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate; name a PEM file with CERTIFICATE blocks", text)
	}
	r.CertPool = pool
	return nil
}

func (w *wait) UnmarshalText(text []byte) (err error) {
	d, err := parseDuration(text, 0, time.Hour)
	*w = wait(d)
	return err
}

func (t *timeout) UnmarshalText(text []byte) (err error) {
	d, err := parseDuration(text, 100*time.Millisecond, time.Hour)
	*t = timeout(d)
	return err
}

// short writes a duration without zeros at its end: 1h for 1h0m0s.
func short[D ~int64](d D) string {
	s := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func parseDuration(text []byte, low, high time.Duration) (time.Duration, error) {
	if _, err := strconv.ParseFloat(string(text), 64); err == nil && string(text) != "0" {
		return 0, fmt.Errorf("%q has no unit: write %ss; allowed are %s to %s", text, text, short(low), short(high))
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("%q is not a duration from %s to %s, such as 25s or 1m30s", text, short(low), short(high))
	}
	return d, nil
}

func (c *count) UnmarshalText(text []byte) error {
	const most = 1_000_000
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > most {
		return fmt.Errorf("%q is not a number from 0 to %d", text, most)
	}
	*c = count(n)
	return nil
}

// otherUnit matches sizes in other spellings: 100MB, 100 M, 1g.
var otherUnit = regexp.MustCompile(`(?i)^(\d+) *([KMG])i?B?$`)

func (s *size) UnmarshalText(text []byte) error {
	number, unit := string(text), int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if cut, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = cut, bytes
			break
		}
	}
	if parts := otherUnit.FindStringSubmatch(number); parts != nil && unit == 1 {
		return fmt.Errorf("%q has a unit that is not known: write %s%siB; the units are KiB, MiB and GiB", text, parts[1], strings.ToUpper(parts[2]))
	}
	const most = 64 << 30
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > most/unit {
		return fmt.Errorf("%q is not a size from 0 to 64GiB; write a number of bytes, or one with KiB, MiB or GiB, such as 100MiB", text)
	}
	*s = size(n * unit)
	return nil
}

func (f *flag) UnmarshalText(text []byte) error {
	on, err := strconv.ParseBool(string(text))
	if err != nil {
		return fmt.Errorf("%q is not true or false", text)
	}
	*f = flag(on)
	return nil
}

func (l *logLevel) UnmarshalText(text []byte) error {
	var level slog.Level
	if err := level.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is not a level; write debug, info, warn or error", text)
	}
	*l = logLevel(level)
	return nil
}

// The words of settings that allow two.
const (
	modeEnforce mode = "enforce"
	modeObserve mode = "observe"

	autobatchOff   autobatch = "off"
	autobatchReads autobatch = "reads"

	logText logFormat = "text"
	logJSON logFormat = "json"

	logFailed logCalls = "failed"
	logAll    logCalls = "all"
)

func (m *mode) UnmarshalText(text []byte) error { return choose(m, text, modeEnforce, modeObserve) }

func (a *autobatch) UnmarshalText(text []byte) error {
	return choose(a, text, autobatchOff, autobatchReads)
}

func (f *logFormat) UnmarshalText(text []byte) error { return choose(f, text, logText, logJSON) }

func (c *logCalls) UnmarshalText(text []byte) error { return choose(c, text, logFailed, logAll) }

// choose reads one of two words.
func choose[T ~string](to *T, text []byte, one, other T) error {
	if word := T(text); word != one && word != other {
		return fmt.Errorf("%q is not %s or %s", text, one, other)
	}
	*to = T(text)
	return nil
}

func (p *path) UnmarshalText(text []byte) error {
	if info, err := os.Stat(filepath.Dir(string(text))); err != nil || !info.IsDir() {
		return fmt.Errorf("%q cannot be written: the directory %s does not exist", text, filepath.Dir(string(text)))
	}
	info, err := os.Lstat(string(text))
	switch {
	case err == nil && info.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%q is a symbolic link; name the file itself", text)
	case err == nil && info.IsDir():
		return fmt.Errorf("%q is a directory; name a file in it", text)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file", text)
	}
	*p = path(text)
	return nil
}

func (f *file) UnmarshalText(text []byte) error {
	info, err := os.Stat(string(text))
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a file", text)
	}
	*f = file(text)
	return nil
}

func (f *folder) UnmarshalText(text []byte) error {
	dir := filepath.Clean(string(text))
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || !info.IsDir() {
		return fmt.Errorf("%q cannot be made: the directory %s does not exist", text, filepath.Dir(dir))
	}
	info, err := os.Lstat(dir)
	switch {
	case err == nil && info.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%q is a symbolic link; name the folder itself", text)
	case err == nil && !info.IsDir():
		return fmt.Errorf("%q is not a folder", text)
	}
	*f = folder(dir)
	return nil
}

// eachPart reads a comma-separated list and joins the faults of its parts.
func eachPart(text []byte, read func(string) error) error {
	var faults []string
	empty := true
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		empty = false
		if err := read(part); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if empty {
		return fmt.Errorf("%q lists nothing; unset the variable to get its default", text)
	}
	if faults != nil {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// eachPair reads a list of HOST=VALUE.
func eachPair(text []byte, example string, read func(proxy.HostPattern, string) error) error {
	seen := make(map[proxy.HostPattern]bool)
	return eachPart(text, func(part string) error {
		host, value, found := strings.Cut(part, "=")
		if !found {
			return fmt.Errorf("%q is not HOST=VALUE, such as %s", part, example)
		}
		pattern, err := proxy.ParseHostPattern(strings.TrimSpace(host))
		if err != nil {
			return err
		}
		if seen[pattern] {
			return fmt.Errorf("%v is listed twice", pattern)
		}
		seen[pattern] = true
		return read(pattern, strings.TrimSpace(value))
	})
}

package redisstore

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// Addresses of every kind are valid. What is wrong with others is said in words of
// ours, which repeat nothing of them.
func TestCheck(t *testing.T) {
	for address, wrong := range map[string]string{
		"redis://127.0.0.1:6379":                                        "",
		"redis://[::1]:6379":                                            "",
		"redis://localhost":                                             "",
		"redis://my_redis-1.example:6379/":                              "",
		"redis://:s3cret@redis.example:6379/3":                          "",
		"redis://:s3cret@redis.example:6379?db=3":                       "",
		"redis://:s3cret%2F%3F%23%40%25@redis.example":                  "",
		"redis://:s3cret@s3cret@redis.example":                          "", // Go's url.Parse takes the last @
		"rediss://user:s3cret@redis.example":                            "",
		"rediss://user:s3cret@redis.example?skip_verify=true":           "",
		"redis://a.example:6379?addr=b.example:6379":                    "",
		"redis://a.example:6379/0?addr=b.example:6379&addr=[::1]:1":     "",
		"redis://a.example:26379?master_name=portals":                   "",
		"redis://a.example?master_name=m&addr=b.example:2&password=%2F": "",
		"redis://a.example?pool_size=3&client_name=b24proxy":            "",
		"unix:///run/redis.sock":                                        "",
		"unix://user:s3cret@/run/redis.sock?db=2":                       "",

		"":                                  "write redis://HOST:PORT",
		"redis.example:6379":                "write redis://HOST:PORT",
		"http://:s3cret@redis.example":      "write redis://HOST:PORT",
		"REDIS://user:s3cret@s3cret space":  "write redis://HOST:PORT",
		"redis://":                          "write redis://HOST:PORT",
		"redis://:6379":                     "write redis://HOST:PORT",
		"redis:///3":                        "write redis://HOST:PORT",
		"redis://a.example,s3cret:6379":     "addr=HOST:PORT",
		"redis://:s3cret@a.example:port":    "write redis://HOST:PORT",
		"redis://:s3cret@a.example:0":       "write redis://HOST:PORT",
		"redis://:s3cret@a.example:70000":   "write redis://HOST:PORT",
		"redis://:s3cret/x@a.example":       "/ is written %2F",
		"redis://:s3cret?x@a.example":       "? %3F",
		"redis://:s3cret#x@a.example":       "# %23",
		"redis://:123#s3cret@a.example":     "# %23",
		"redis://a:123#s3cret@a.example":    "# %23",
		"redis://:s3cret%zz@a.example":      "% %25",
		"redis://:s3cret@a.example?db=3%":   "% %25",
		"redis://:s3cret@a.example?a=1;b=2": "write redis://HOST:PORT",
		"unix://s3cret":                     "unix:///PATH",
		"unix://run/redis.sock":             "unix:///PATH",
		"unix:///":                          "unix:///PATH",
		"unix:s3cret":                       "unix:///PATH",

		"redis://:s3cret@a.example/s3cret":                     "database is not a number",
		"redis://:s3cret@a.example/-1":                         "database is not a number",
		"redis://:s3cret@a.example/1/2":                        "database is not a number",
		"redis://a:12/s3cret@b.example":                        "database is not a number",
		"redis://:s3cret@a.example/x?master_name=m":            "database is not a number",
		"redis://:s3cret@a.example?db=s3cret":                  "db is not the number",
		"redis://:s3cret@a.example/3?addr=b.example:1":         "only database 0",
		"redis://:s3cret@a.example?addr=b.example:1&db=1":      "only database 0",
		"redis://:s3cret@a.example?addr=b.example":             "addr is not HOST:PORT",
		"redis://:s3cret@a.example?addr=u:s3cret@b.example:1":  "addr is not HOST:PORT",
		"redis://:s3cret@a.example?addr=s3cret@b.example:1":    "addr is not HOST:PORT",
		"redis://:s3cret@a.example?s3cret=s3cret":              "the parameters are addr, client_name, db",
		"redis://:s3cret@a.example?read_timeout=1m":            "the parameters are addr, client_name, db",
		"redis://:s3cret@a.example?addr=b.example:1&s3cret":    "the parameters are addr, client_name, db",
		"redis://a.example?password=s3cret":                    "write USER:PASSWORD@ before HOST",
		"redis://a.example?addr=b.example:1&username=s3cret":   "write USER:PASSWORD@ before HOST",
		"redis://a.example?master_name=s3cret%20s3cret":        "master_name is not",
		"redis://a.example?master_name=":                       "master_name is not",
		"redis://a.example?master_name=m&master_name=n":        "is there twice",
		"redis://a.example?pool_size=99999999999":              "pool_size is not a number from 1 to 1000",
		"redis://a.example?pool_size=0":                        "pool_size is not a number from 1 to 1000",
		"redis://a.example?skip_verify=true":                   "only of rediss://",
		"rediss://a.example?addr=b.example:1&skip_verify=true": "only of rediss://",
		"rediss://a.example?skip_verify=s3cret":                "skip_verify is not true or false",
		"unix:///run/redis.sock?addr=a.example:1":              "a socket is one server",
	} {
		t.Run(address, func(t *testing.T) {
			err := Check(address)
			switch {
			case err == nil && wrong != "":
				t.Errorf("got no error, want one with %q", wrong)
			case err != nil && (wrong == "" || !strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "s3cret")):
				t.Errorf("got %v, want %q and no password", err, wrong)
			}
		})
	}
}

// Whatever the address is, it is valid or refused with a word of ours.
func FuzzCheck(f *testing.F) {
	for _, address := range []string{
		"redis://user:s3cret@a.example:6379/3?pool_size=3", "rediss://a?skip_verify=true", "unix:///run/redis.sock?db=1",
		"redis://a?addr=b:1&addr=c:2", "redis://a?master_name=s3cret&username=s3cret&password=s3cret", "redis://:s3cret/@a", "redis://[::1%25s3cret]:1",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if err := Check(address); err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want no part of the address", err)
		}
	})
}

// A server may repeat in its errors what it was sent. The log does not.
func TestServerRepeatsThePassword(t *testing.T) {
	for kind, address := range map[string]string{
		"a server":                          "redis://user-s3cret:s3cret%2Fs3cret@HOST",
		"a server that a Sentinel has told": "redis://user-s3cret:s3cret@HOST?master_name=m&username=other-s3cret&password=s3cret",
	} {
		t.Run(kind, func(t *testing.T) {
			var log logbook
			s := mustOpen(t, Config{URL: strings.Replace(address, "HOST", parrot(t), 1), Egress: "e", Log: log.log()})
			_, err := s.Sync(report)
			if err == nil || strings.Contains(err.Error(), "s3cret") || log.has("s3cret") || !log.has("unknown command") {
				t.Errorf("got the error %v and the log %s, want both without the password", err, &log.text)
			}
		})
	}
}

// parrot serves a server that refuses what it is sent, word by word, until the test
// ends.
func parrot(t *testing.T) (address string) {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		for lines := bufio.NewScanner(conn); lines.Scan(); { // "*2", and for each word its length and the word
			var words []string
			n, _ := strconv.Atoi(lines.Text()[1:])
			for range n {
				lines.Scan()
				lines.Scan()
				words = append(words, lines.Text())
			}
			fmt.Fprintf(conn, "-ERR unknown command, beginning with: %s\r\n", words)
		}
	})
}
